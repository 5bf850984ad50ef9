// A client for browser apps. client.d.ts describes it.

// Less than REFRESH_GRACE_SECONDS: another tab may send the same refresh token.
const LOCK_WAIT_MS = 4000;
const ANSWER_WAIT_MS = 8000;
const USED_MS_PER_SECOND = 900;
const ES256 = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

function failure(code, status = 0, body, retryAfter = 0) {
  return Object.assign(new Error(body?.detail ?? code), { code, status, body, retryAfter });
}

export function createClient({ mode = "session", dpop = mode === "token", ...options } = {}) {
  const { baseUrl = location.origin, audience, storage } = options;
  const hasTokens = mode === "token";
  const site = new URL(baseUrl).origin;
  const inTab = storage === "memory" && crypto.randomUUID();
  const name = JSON.stringify([mode, site, audience, dpop, inTab]);
  const update = inTab || !(dpop || hasTokens) ? inMemory() : inDatabase(name);
  const channel = new BroadcastChannel(name);
  const listeners = new Set();
  const running = new Map();
  const minted = new Map();
  const dueTimes = new Map();
  const incurable = new Map();
  const nonces = new Map();
  let pause = { until: 0 };
  let known;
  let generation = 0;

  channel.onmessage = ({ data }) => (hasTokens ? stored() : learn(data));

  function learn(next) {
    const before = known;
    known = next;
    if (next && next.sid === before?.sid) return;
    generation += 1;
    minted.clear();
    const change = next ? "signed_in" : "signed_out";
    if (next || before) for (const listener of listeners) queueMicrotask(() => listener(change));
  }

  async function stored(change = (value) => value) {
    learn(await update(change));
    return known;
  }

  const announce = () => channel.postMessage(known && { sid: known.sid });

  async function forget(ended, at = generation) {
    if (hasTokens) await stored((value) => (value?.sid === ended?.sid ? undefined : value));
    else if (at === generation) learn(await update(() => undefined));
    announce();
  }

  async function send(request, { access, keys } = {}, isRepeated = false) {
    const { origin, pathname } = new URL(request.url);
    const nonce = nonces.get(origin);
    const copy = request.clone();
    if (access) copy.headers.set("Authorization", `${keys ? "DPoP" : "Bearer"} ${access}`);
    if (keys) copy.headers.set("DPoP", await proof(keys, copy.method, origin + pathname, nonce, access));
    const response = await fetch(copy).catch((error) => {
      throw error.name === "AbortError" ? error : failure("offline");
    });
    const next = keys && response.headers.get("DPoP-Nonce");
    if (!next || next === nonce) return response;
    nonces.set(origin, next);
    const isAsked = response.status === 400 || response.status === 401;
    return isAsked && !isRepeated ? send(request, { access, keys }, true) : response;
  }

  async function ask(method, path, data, keys) {
    const signal = AbortSignal.timeout(ANSWER_WAIT_MS);
    return bodyOf(await send(newRequest(path, { method, signal, ...json(data) }, hasTokens), { keys }));
  }

  function newRequest(path, init, hasToken) {
    return new Request(new URL(path, site), { ...init, credentials: hasToken ? "omit" : "include" });
  }

  // Replaces the access token `stale`. In session mode the session is the refresh token.
  async function renew(service, stale) {
    const at = generation;
    const fresh = { keys: await newKeys(dpop && !hasTokens) };
    const held = hasTokens ? await stored() : await update((value) => value ?? fresh);
    if (hasTokens && !(held && held.access === stale)) return;
    if (performance.now() < pause.until) throw pause.error;
    try {
      const { refresh, keys } = held;
      const path = hasTokens ? "/api/token/refresh/" : "/api/session/token/";
      const next = withSid(await ask("POST", path, { refresh, audience: service }, keys), keys);
      if (hasTokens) await stored((value) => (value?.refresh === refresh ? next : value));
      else if (at === generation) {
        learn({ sid: next.sid });
        minted.set(service, next);
      }
    } catch (error) {
      if (error.retryAfter) pause = { until: performance.now() + error.retryAfter * 1000, error };
      throwUnlessEnd(error);
      await forget(held, at);
    }
  }

  function withSid(answer, keys) {
    const { access, refresh, expires_in } = answer;
    if (!access || !(expires_in > 0) || (hasTokens && !refresh)) throw failure("bad_answer", 200, answer);
    return { ...answer, keys, sid: JSON.parse(atob(access.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).sid };
  }

  function isDue({ access, expires_in }) {
    const dueAt = dueTimes.get(access) ?? performance.now() + expires_in * USED_MS_PER_SECOND;
    dueTimes.set(access, dueAt);
    return performance.now() >= dueAt;
  }

  async function token(service, sid = known?.sid, stale) {
    if (hasTokens && service !== audience) throw failure("audience_needed");
    const current = async () => (hasTokens ? stored() : minted.get(service));
    let held = await current();
    if (!held || held.access === stale || isDue(held)) {
      const work = () => renew(service, held?.access);
      const renewal = running.get(service) ?? (hasTokens ? alone(name, work) : work());
      running.set(service, renewal);
      await renewal.finally(() => running.delete(service));
      held = await current();
    }
    if (!known) throw failure("signed_out", 401);
    if (held?.sid !== (sid ?? known.sid)) throw failure("user_changed");
    return held;
  }

  async function fetchAs(path, { audience: service = audience, ...init } = {}) {
    if (init.body?.getReader) throw failure("stream_body");
    const isOurs = new URL(path, site).origin === site;
    if (!isOurs && !service) throw failure("audience_needed");
    const at = generation;
    const hasToken = hasTokens || !isOurs;
    const request = newRequest(path, init, hasToken);
    const first = hasToken ? await token(service) : {};
    const response = await send(request, first);
    if (response.status !== 401 || (hasToken && incurable.get(request.url) === first.access)) return response;
    const { code } = await bodyOf(response.clone()).catch((error) => error);
    if (isOurs && /^(sign_in_ended|not_authenticated)$/.test(code)) {
      // Another tab may have replaced the session key.
      if (!hasToken && (await whoAmI()) && at === generation) return send(request);
      await forget(first, at);
      throw failure("signed_out", 401);
    }
    if (!hasToken) return response;
    const next = await token(service, first.sid, first.access);
    const repeated = await send(request, next);
    if (repeated.status === 401) incurable.set(request.url, next.access);
    return repeated;
  }

  async function call(path, data, method = data ? "POST" : "GET") {
    return bodyOf(await fetchAs(path, { method, ...json(data) }));
  }

  async function start(path, data, keys) {
    try {
      const answer = await ask("POST", `/api/${mode}/${path}`, data, keys);
      if (hasTokens) await stored(() => withSid(answer, keys));
      else learn({ sid: answer.sign_in.id });
      announce();
      return null;
    } catch (error) {
      if (error.code !== "second_step_required") throw error;
      const { step, methods, passkey } = error.body;
      const finish = async ({ passkey: isPasskey, ...code }) =>
        start("second-step/", { step, ...(isPasskey ? await credential(passkey) : code) }, keys);
      return { methods, finish };
    }
  }

  async function whoAmI() {
    const at = generation;
    try {
      if (hasTokens) return await call("/api/me/");
      const { user, sign_in } = await ask("GET", "/api/session/");
      if (at !== generation) return whoAmI();
      learn({ sid: sign_in.id });
      return user;
    } catch (error) {
      throwUnlessEnd(error);
      if (!hasTokens) await forget({}, at);
      return null;
    }
  }

  return {
    fetch: fetchAs,
    call,
    whoAmI,
    accessToken: async ({ audience: service = audience } = {}) => (await token(service)).access,

    async signIn({ username, password, remember }) {
      return start("", { username, password, audience, remember }, await newKeys(hasTokens && dpop));
    },

    async signInWithPasskey({ remember } = {}) {
      const keys = await newKeys(hasTokens && dpop);
      const { step, publicKey } = await ask("POST", `/api/${mode}/passkey/options/`, { audience }, keys);
      return start("passkey/", { step, remember, ...(await credential(publicKey)) }, keys);
    },

    async signOut() {
      const last = hasTokens && (await stored());
      if (!hasTokens) await ask("DELETE", "/api/session/");
      if (last || !hasTokens) await forget(last);
      if (last) await ask("POST", "/api/token/blacklist/", { refresh: last.refresh }).catch(throwUnlessEnd);
    },

    async signOutEverywhere() {
      await call("/api/sign-ins/end-all/", {});
      await forget(known);
    },

    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

function throwUnlessEnd(error) {
  if (error.status !== 401 || error.code === "bad_answer") throw error;
}

const json = (data) => data && { headers: { "Content-Type": "application/json" }, body: JSON.stringify(data) };

async function bodyOf(response) {
  const body = await response.json().catch(() => undefined);
  if (response.ok && (body || response.status === 204)) return body;
  const seconds = Number(response.headers.get("Retry-After")) || 0;
  throw failure(body?.code ?? "bad_answer", response.status, body, seconds);
}

// One tab at a time: a lock ends with its tab, and a tab that hangs loses it.
function alone(name, work) {
  return new Promise((resolve, reject) => {
    const lock = (init) => navigator.locks.request(name, init, () => work().then(resolve, reject));
    const take = (error) => error.name === "TimeoutError" && lock({ steal: true });
    lock({ signal: AbortSignal.timeout(LOCK_WAIT_MS) }).catch(take).catch(() => {});
  });
}

function inMemory() {
  let value;
  return async (change) => (value = change(value));
}

function inDatabase(name) {
  return (change) =>
    new Promise((resolve, reject) => {
      const opening = indexedDB.open("wristband", 1);
      opening.onupgradeneeded = () => opening.result.createObjectStore("clients");
      opening.onerror = () => reject(opening.error);
      opening.onsuccess = () => {
        const transaction = opening.result.transaction("clients", "readwrite");
        const clients = transaction.objectStore("clients");
        const found = clients.get(name);
        let value;
        found.onsuccess = () => clients.put((value = change(found.result)), name);
        transaction.oncomplete = () => resolve(value);
        transaction.onabort = () => reject(transaction.error);
        opening.result.close();
      };
    });
}

const newKeys = async (isBound) => isBound && crypto.subtle.generateKey(ES256, false, ["sign"]);
const utf8 = (text) => new TextEncoder().encode(text);
const base64url = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");

async function proof({ publicKey, privateKey }, htm, htu, nonce, access) {
  const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", publicKey);
  const ath = access && base64url(await crypto.subtle.digest("SHA-256", utf8(access)));
  const claims = { jti: crypto.randomUUID(), iat: Math.floor(Date.now() / 1000), htm, htu, nonce, ath };
  const parts = [{ typ: "dpop+jwt", alg: "ES256", jwk: { kty, crv, x, y } }, claims];
  const signed = parts.map((part) => base64url(utf8(JSON.stringify(part)))).join(".");
  return `${signed}.${base64url(await crypto.subtle.sign(ES256, privateKey, utf8(signed)))}`;
}

async function credential(options) {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  return { credential: (await navigator.credentials.get({ publicKey })).toJSON() };
}
