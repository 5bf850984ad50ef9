// Types of client.js. schema.d.ts has the types of the API, generated from the OpenAPI schema.

import type { components, paths } from "./schema.d.ts";

export type User = components["schemas"]["User"];
export type Factor = "passkey" | "totp" | "recovery_code";

export interface Options {
  /**
   * `session`: the app is on the site, or on an origin of APP_ORIGINS. The browser keeps the session cookie; for another
   * service, the client gets access tokens of the same sign-in and keeps them in memory.
   * `token`: the app is on another site, in CORS_ALLOWED_ORIGINS. It has an access and a refresh token.
   */
  mode?: "session" | "token";
  /** The URL of the site. By default the origin of the page. */
  baseUrl?: string;
  /** The service that access tokens are for (JWT_AUDIENCES). By default the API of the site. */
  audience?: string;
  /**
   * Binds tokens to a key that the page can use and cannot export (DPoP, RFC 9449). By default true in token mode. The
   * proofs have the computer's time; if it is wrong, the server asks for a nonce, and the client repeats the request.
   */
  dpop?: boolean;
  /**
   * Where token mode keeps the refresh token and the key. `indexeddb`: all tabs of an origin share one sign-in. With
   * DPoP, a script that steals the token cannot use it elsewhere. `memory`: each tab has its own sign-in, which a reload
   * loses.
   */
  storage?: "indexeddb" | "memory";
}

/** What is thrown, beside an AbortError for a signal of the caller. */
export interface ClientError extends Error {
  /**
   * The code of the API, or of the client: `offline` (no response), `bad_answer` (no JSON, as from a proxy), `signed_out`,
   * `user_changed` (another user has signed in meanwhile: nothing was sent as that user), `stream_body`,
   * `audience_needed`.
   */
  code: string;
  /** The status of the response; 0 without one. */
  status: number;
  body?: any;
  /** In seconds; 0 if the server named no time. Until then, the client asks for no token, and throws the same error. */
  retryAfter: number;
}

/** The second step of a sign-in. It is valid for five minutes. */
export interface Step {
  methods: Factor[];
  /** Starts the sign-in. After `second_step_failed` it can be called again, but not with the same passkey options. */
  finish(proof: { code: string } | { recovery_code: string } | { passkey: true }): Promise<null>;
}

type Json<Response> = Response extends { content: { "application/json": infer Body } } ? Body : undefined;
type Operation<Path extends keyof paths, Method extends string> =
  Lowercase<Method> extends keyof paths[Path] ? NonNullable<paths[Path][Lowercase<Method>]> : never;
type Answer<Path extends keyof paths, Method extends string> =
  Operation<Path, Method> extends { responses: infer Responses } ? Json<Responses[keyof Responses]> : never;
type Data<Path extends keyof paths, Method extends string> =
  Operation<Path, Method> extends { requestBody?: infer Body } ? Json<NonNullable<Body>> : object;

export interface Client {
  /**
   * Signs in by password. Returns null, or the second step if the account has one: finish it. `remember` keeps the session
   * after the browser is closed. In token mode it has no effect: there the sign-in lasts as long as its refresh token.
   */
  signIn(who: { username: string; password: string; remember?: boolean }): Promise<Step | null>;
  /** Signs in by a passkey. Only on the host of the site, to which passkeys are bound. */
  signInWithPasskey(options?: { remember?: boolean }): Promise<null>;
  /** The user, or null without a signed-in user. Not with the `audience` of another service in token mode. */
  whoAmI(): Promise<User | null>;
  /**
   * As fetch(), with the cookie or a token. `path` is a path of the site, or a URL of the service of `audience`. A token
   * that was refused is renewed once, and the request is sent again with its body; a body that is a stream is refused.
   * A response with an error is returned, not thrown.
   */
  fetch(path: string | URL, options?: RequestInit & { audience?: string }): Promise<Response>;
  /** Calls the API with JSON and returns the body of the response. Throws a ClientError with its code. */
  call<Path extends keyof paths>(path: Path): Promise<Answer<Path, "GET">>;
  call<Path extends keyof paths, Method extends string = "POST">(
    path: Path,
    data: Data<Path, Method> | undefined,
    method?: Method,
  ): Promise<Answer<Path, Method>>;
  /** The same for a path of your app, such as call("/api/reports/"). */
  call<T = any, Path extends string = string>(
    path: Path extends keyof paths ? never : Path,
    data?: object,
    method?: string,
  ): Promise<T>;
  /** An access token that is not due for renewal: for a service, or for another client such as a WebSocket. */
  accessToken(options?: { audience?: string }): Promise<string>;
  /**
   * Ends the sign-in. In token mode the tokens are removed first: after `offline` they are gone, and the sign-in is still
   * listed until it expires. In session mode the session goes on after `offline`.
   */
  signOut(): Promise<void>;
  /** Ends all sign-ins of the user. May throw `recent_sign_in_required`: call /api/reauthenticate/, and repeat. */
  signOutEverywhere(): Promise<void>;
  /**
   * Calls a function after each sign-in and sign-out that this tab learns of, its own and those of other tabs: read the
   * user again with whoAmI(). Returns a function that stops it.
   */
  onChange(listener: (change: "signed_in" | "signed_out") => void): () => void;
}

export function createClient(options?: Options): Client;
