// Generated from the OpenAPI schema: python -m tests.api.client_types

export interface paths {
    "/.well-known/jwks.json": {
        get: {
            responses: {
                200: {
                    content: {
                        "application/json": {
                            keys: ({
                                /** @enum {string} */
                                alg: "ES256" | "RS256" | "EdDSA";
                                kid: string;
                                /** @enum {string} */
                                kty: "EC" | "RSA" | "OKP";
                                /** @enum {string} */
                                use: "sig";
                            } & {
                                [key: string]: string;
                            })[];
                        };
                    };
                };
            };
        };
    };
    "/api/api-keys/": {
        get: {
            parameters: {
                query?: {
                    page?: number | "last";
                    page_size?: number;
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["PaginatedApiKeyList"];
                    };
                };
            };
        };
        post: {
            requestBody: {
                content: {
                    "application/json": components["schemas"]["NewApiKeyRequest"];
                };
            };
            responses: {
                201: {
                    content: {
                        "application/json": components["schemas"]["MadeApiKey"];
                    };
                };
            };
        };
    };
    "/api/device/code/": {
        post: {
            requestBody: {
                content: {
                    "application/x-www-form-urlencoded": components["schemas"]["DeviceCodeRequest"];
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["DeviceCodeResponse"];
                    };
                };
            };
        };
    };
    "/api/device/token/": {
        post: {
            requestBody: {
                content: {
                    "application/x-www-form-urlencoded": components["schemas"]["DeviceTokenRequest"];
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["OAuthTokenResponse"];
                    };
                };
            };
        };
    };
    "/api/email/change/": {
        post: {
            requestBody: {
                content: {
                    "application/json": components["schemas"]["EmailChangeRequest"];
                };
            };
            responses: {
                202: {
                    content: {
                        "application/json": Record<string, never>;
                    };
                };
            };
        };
        delete: {
            responses: {
                204: {
                };
            };
        };
    };
    "/api/email/confirm/": {
        post: {
            requestBody: {
                content: {
                    "application/json": components["schemas"]["EmailConfirmRequest"];
                };
            };
            responses: {
                204: {
                };
            };
        };
    };
    "/api/email/resend/": {
        post: {
            responses: {
                202: {
                    content: {
                        "application/json": Record<string, never>;
                    };
                };
            };
        };
    };
    "/api/events/": {
        get: {
            parameters: {
                query?: {
                    page?: number | "last";
                    page_size?: number;
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["PaginatedSecurityEventList"];
                    };
                };
            };
        };
    };
    "/api/events/{id}/not-me/": {
        post: {
            parameters: {
                path: {
                    id: number;
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": {
                            ended: number;
                        };
                    };
                };
            };
        };
    };
    "/api/factors/": {
        get: {
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["FactorList"];
                    };
                };
            };
        };
    };
    "/api/factors/{id}/": {
        delete: {
            parameters: {
                path: {
                    id: string;
                };
            };
            responses: {
                204: {
                };
            };
        };
        patch: {
            parameters: {
                path: {
                    id: string;
                };
            };
            requestBody?: {
                content: {
                    "application/json": components["schemas"]["PatchedRenameRequest"];
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["Factor"];
                    };
                };
            };
        };
    };
    "/api/factors/passkey/": {
        post: {
            requestBody: {
                content: {
                    "application/json": components["schemas"]["NewPasskeyRequest"];
                };
            };
            responses: {
                201: {
                    content: {
                        "application/json": components["schemas"]["Factor"];
                    };
                };
            };
        };
    };
    "/api/factors/passkey/options/": {
        post: {
            requestBody?: {
                content: {
                    "application/json": components["schemas"]["NewPasskeyOptionsRequest"];
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["PasskeyOptionsResponse"];
                    };
                };
            };
        };
    };
    "/api/factors/recovery-codes/": {
        post: {
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["RecoveryCodesResponse"];
                    };
                };
            };
        };
    };
    "/api/factors/totp/": {
        post: {
            requestBody?: {
                content: {
                    "application/json": components["schemas"]["NewAppRequest"];
                };
            };
            responses: {
                201: {
                    content: {
                        "application/json": components["schemas"]["NewAppResponse"];
                    };
                };
            };
        };
    };
    "/api/factors/totp/confirm/": {
        post: {
            requestBody: {
                content: {
                    "application/json": components["schemas"]["ConfirmAppRequest"];
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["RecoveryCodesResponse"];
                    };
                };
            };
        };
    };
    "/api/me/": {
        get: {
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["User"];
                    };
                };
            };
        };
        patch: {
            requestBody?: {
                content: {
                    "application/json": components["schemas"]["PatchedUserRequest"];
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["User"];
                    };
                };
            };
        };
    };
    "/api/me/delete/": {
        post: {
            requestBody?: {
                content: {
                    "application/json": components["schemas"]["DeletionRequest"];
                };
            };
            responses: {
                204: {
                };
            };
        };
    };
    "/api/password/change/": {
        post: {
            requestBody: {
                content: {
                    "application/json": components["schemas"]["PasswordChangeRequest"];
                };
            };
            responses: {
                204: {
                };
            };
        };
    };
    "/api/password/confirm/": {
        post: {
            requestBody: {
                content: {
                    "application/json": components["schemas"]["PasswordConfirmRequest"];
                };
            };
            responses: {
                204: {
                };
            };
        };
    };
    "/api/password/reset/": {
        post: {
            requestBody: {
                content: {
                    "application/json": components["schemas"]["PasswordResetRequest"];
                };
            };
            responses: {
                202: {
                    content: {
                        "application/json": Record<string, never>;
                    };
                };
            };
        };
    };
    "/api/password/reset/confirm/": {
        post: {
            requestBody: {
                content: {
                    "application/json": components["schemas"]["PasswordResetConfirmRequest"];
                };
            };
            responses: {
                204: {
                };
            };
        };
    };
    "/api/reauthenticate/": {
        post: {
            requestBody?: {
                content: {
                    "application/json": components["schemas"]["ReauthenticationRequest"];
                };
            };
            responses: {
                204: {
                };
            };
        };
    };
    "/api/reauthenticate/options/": {
        post: {
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["PasskeyOptionsResponse"];
                    };
                };
            };
        };
    };
    "/api/register/": {
        post: {
            requestBody: {
                content: {
                    "application/json": components["schemas"]["RegistrationRequest"];
                };
            };
            responses: {
                201: {
                    content: {
                        "application/json": components["schemas"]["User"];
                    };
                };
            };
        };
    };
    "/api/schema/": {
        get: {
            parameters: {
                query?: {
                    format?: "json" | "yaml";
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": Record<string, never>;
                        "application/vnd.oai.openapi": Record<string, never>;
                        "application/vnd.oai.openapi+json": Record<string, never>;
                        "application/yaml": Record<string, never>;
                    };
                };
            };
        };
    };
    "/api/session/": {
        get: {
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["SessionResponse"];
                    };
                };
            };
        };
        post: {
            requestBody: {
                content: {
                    "application/json": components["schemas"]["SessionSignInRequest"];
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["SessionResponse"];
                    };
                };
            };
        };
        delete: {
            responses: {
                204: {
                };
            };
        };
    };
    "/api/session/passkey/": {
        post: {
            requestBody: {
                content: {
                    "application/json": components["schemas"]["SessionPasskeyRequest"];
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["SessionResponse"];
                    };
                };
            };
        };
    };
    "/api/session/passkey/options/": {
        post: {
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["PasskeyOptionsResponse"];
                    };
                };
            };
        };
    };
    "/api/session/second-step/": {
        post: {
            requestBody: {
                content: {
                    "application/json": components["schemas"]["SecondStepRequest"];
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["SessionResponse"];
                    };
                };
            };
        };
    };
    "/api/session/token/": {
        post: {
            requestBody?: {
                content: {
                    "application/json": components["schemas"]["SessionTokenRequest"];
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["SessionTokenResponse"];
                    };
                };
            };
        };
    };
    "/api/sign-ins/": {
        get: {
            parameters: {
                query?: {
                    page?: number | "last";
                    page_size?: number;
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["PaginatedSignInList"];
                    };
                };
            };
        };
    };
    "/api/sign-ins/{id}/": {
        delete: {
            parameters: {
                path: {
                    id: string;
                };
            };
            responses: {
                204: {
                };
            };
        };
        patch: {
            parameters: {
                path: {
                    id: string;
                };
            };
            requestBody?: {
                content: {
                    "application/json": components["schemas"]["PatchedRenameSignInRequest"];
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["SignIn"];
                    };
                };
            };
        };
    };
    "/api/sign-ins/end-all/": {
        post: {
            responses: {
                200: {
                    content: {
                        "application/json": {
                            ended: number;
                        };
                    };
                };
            };
        };
    };
    "/api/sign-ins/end-others/": {
        post: {
            responses: {
                200: {
                    content: {
                        "application/json": {
                            ended: number;
                            left?: number;
                        };
                    };
                };
            };
        };
    };
    "/api/sign-ins/ended/": {
        get: {
            parameters: {
                query?: {
                    page?: number | "last";
                    page_size?: number;
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["PaginatedEndedSignInList"];
                    };
                };
            };
        };
    };
    "/api/token/": {
        post: {
            requestBody: {
                content: {
                    "application/json": components["schemas"]["TokenPairRequest"];
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["TokenPair"];
                    };
                };
            };
        };
    };
    "/api/token/blacklist/": {
        post: {
            requestBody: {
                content: {
                    "application/json": components["schemas"]["TokenBlacklistRequest"];
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": Record<string, never>;
                    };
                };
            };
        };
    };
    "/api/token/introspect/": {
        post: {
            requestBody: {
                content: {
                    "application/x-www-form-urlencoded": components["schemas"]["TokenFormRequest"];
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": {
                            active: boolean;
                            aud?: string;
                            cnf?: {
                                jkt: string;
                            };
                            exp?: number;
                            iat?: number;
                            iss?: string;
                            jti?: string;
                            /** Format: uuid */
                            sid?: string;
                            sub?: string;
                            /** @enum {string} */
                            token_type?: "Bearer" | "DPoP";
                            username?: string;
                        };
                    };
                };
            };
        };
    };
    "/api/token/passkey/": {
        post: {
            requestBody: {
                content: {
                    "application/json": components["schemas"]["PasskeySignInRequest"];
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["TokenPair"];
                    };
                };
            };
        };
    };
    "/api/token/passkey/options/": {
        post: {
            requestBody?: {
                content: {
                    "application/json": components["schemas"]["PasskeyOptionsRequest"];
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["PasskeyOptionsResponse"];
                    };
                };
            };
        };
    };
    "/api/token/refresh/": {
        post: {
            requestBody: {
                content: {
                    "application/json": components["schemas"]["TokenRefreshRequest"];
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["TokenPair"];
                    };
                };
            };
        };
    };
    "/api/token/revoke/": {
        post: {
            requestBody: {
                content: {
                    "application/x-www-form-urlencoded": components["schemas"]["TokenFormRequest"];
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": Record<string, never>;
                    };
                };
            };
        };
    };
    "/api/token/second-step/": {
        post: {
            requestBody: {
                content: {
                    "application/json": components["schemas"]["SecondStepRequest"];
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": components["schemas"]["TokenPair"];
                    };
                };
            };
        };
    };
    "/api/token/status/{number}": {
        get: {
            parameters: {
                path: {
                    number: number;
                };
            };
            responses: {
                200: {
                    content: {
                        "application/statuslist+jwt": string;
                    };
                };
            };
        };
    };
    "/api/token/verify/": {
        post: {
            requestBody: {
                content: {
                    "application/json": components["schemas"]["TokenVerifyRequest"];
                };
            };
            responses: {
                200: {
                    content: {
                        "application/json": Record<string, never>;
                    };
                };
            };
        };
    };
    "/health/live": {
        get: {
            responses: {
                200: {
                    content: {
                        "application/json": {
                            status: string;
                        };
                    };
                };
            };
        };
    };
    "/health/ready": {
        get: {
            responses: {
                200: {
                    content: {
                        "application/json": {
                            database: string;
                            keys: string;
                            mail: string;
                            redis: string;
                            static_files: string;
                            status: string;
                        };
                    };
                };
            };
        };
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        ApiKey: {
            /** Format: date-time */
            created_at: string;
            /** Format: date-time */
            expires_at: string;
            /** Format: uuid */
            readonly id: string;
            /** Format: date-time */
            readonly last_used_at: string | null;
            name: string;
            readonly scopes: components["schemas"]["KeyScope"][];
        };
        /** @enum {string} */
        AudienceEnum: "api";
        ConfirmAppRequest: {
            code: string;
            /** Format: uuid */
            id: string;
        };
        DeletionRequest: {
            password?: string;
        };
        DeviceCodeRequest: {
            client_id: string;
        } & {
            [key: string]: string;
        };
        DeviceCodeResponse: {
            device_code: string;
            expires_in: number;
            interval: number;
            user_code: string;
            /** Format: uri */
            verification_uri: string;
        };
        DeviceTokenRequest: {
            device_code?: string;
            grant_type: string;
            refresh_token?: string;
        } & {
            [key: string]: string;
        };
        EmailChangeRequest: {
            /** Format: email */
            new_email: string;
        };
        EmailConfirmRequest: {
            token: string;
            uid: string;
        };
        EndedSignIn: {
            /** Format: date-time */
            created_at: string;
            readonly device: string;
            readonly end_reason: string;
            /** Format: date-time */
            readonly ended_at: string;
            /** Format: uuid */
            readonly id: string;
            ip_address: string | null;
            kind: components["schemas"]["SignInKind"];
            /** Format: date-time */
            last_seen_at: string;
            name: string;
        };
        Error: {
            code: string;
            detail: string;
            error?: string;
            messages?: {
                [key: string]: string;
            }[];
            methods?: components["schemas"]["MethodsEnum"][];
            passkey?: Record<string, never>;
            step?: string;
        };
        Factor: {
            /** Format: uuid */
            aaguid?: string;
            /** Format: date-time */
            created_at: string;
            /** Format: uuid */
            id: string;
            is_backed_up?: boolean;
            is_disabled: boolean;
            kind: components["schemas"]["FactorKindEnum"];
            /** Format: date-time */
            last_used_at: string | null;
            left?: number;
            name: string;
            recovery_codes?: string[];
            transports?: string[];
        };
        /** @enum {string} */
        FactorKindEnum: "passkey" | "totp" | "recovery_codes";
        FactorList: {
            results: components["schemas"]["Factor"][];
        };
        InvalidInput: {
            code: string;
            detail: string;
            error?: string;
        } & {
            [key: string]: string[];
        };
        /** @enum {string} */
        KeyScope: "read" | "write";
        MadeApiKey: {
            /** Format: date-time */
            created_at: string;
            /** Format: date-time */
            expires_at: string;
            /** Format: uuid */
            readonly id: string;
            readonly key: string;
            /** Format: date-time */
            readonly last_used_at: string | null;
            name: string;
            readonly scopes: components["schemas"]["KeyScope"][];
        };
        /** @enum {string} */
        MethodsEnum: "password" | "passkey" | "totp" | "recovery_code" | "openid";
        NewApiKeyRequest: {
            expires_in_days?: number;
            name: string;
            scopes?: components["schemas"]["KeyScope"][];
        };
        NewAppRequest: {
            name?: string;
        };
        NewAppResponse: {
            /** Format: uuid */
            id: string;
            qr_svg: string;
            secret: string;
            uri: string;
        };
        NewPasskeyOptionsRequest: {
            conditional?: boolean;
        };
        NewPasskeyRequest: {
            credential: {
                [key: string]: unknown;
            };
            name?: string;
            step: string;
        };
        OAuthTokenResponse: {
            access_token: string;
            expires_in: number;
            refresh_expires_in: number;
            refresh_token: string;
            token_type: components["schemas"]["TokenType"];
        };
        PaginatedApiKeyList: {
            count: number;
            /** Format: uri */
            next: string | null;
            /** Format: uri */
            previous: string | null;
            results: components["schemas"]["ApiKey"][];
        };
        PaginatedEndedSignInList: {
            count: number;
            /** Format: uri */
            next: string | null;
            /** Format: uri */
            previous: string | null;
            results: components["schemas"]["EndedSignIn"][];
        };
        PaginatedSecurityEventList: {
            count: number;
            /** Format: uri */
            next: string | null;
            /** Format: uri */
            previous: string | null;
            results: components["schemas"]["SecurityEvent"][];
        };
        PaginatedSignInList: {
            count: number;
            /** Format: uri */
            next: string | null;
            /** Format: uri */
            previous: string | null;
            results: components["schemas"]["SignIn"][];
        };
        PasskeyOptionsRequest: {
            audience?: components["schemas"]["AudienceEnum"];
        };
        PasskeyOptionsResponse: {
            publicKey: {
                [key: string]: unknown;
            };
            step: string;
        };
        PasskeySignInRequest: {
            credential: {
                [key: string]: unknown;
            };
            step: string;
        };
        PasswordChangeRequest: {
            new_password: string;
            old_password: string;
        };
        PasswordConfirmRequest: {
            password: string;
        };
        PasswordResetConfirmRequest: {
            new_password: string;
            token: string;
            uid: string;
        };
        PasswordResetRequest: {
            /** Format: email */
            email: string;
        };
        PatchedRenameRequest: {
            name?: string;
        };
        PatchedRenameSignInRequest: {
            name?: string;
        };
        PatchedUserRequest: {
            first_name?: string;
            last_name?: string;
        };
        ReauthenticationRequest: {
            code?: string;
            credential?: {
                [key: string]: unknown;
            };
            password?: string;
            recovery_code?: string;
            step?: string;
        };
        RecoveryCodesResponse: {
            recovery_codes: string[];
        };
        RegistrationRequest: {
            /** Format: email */
            email: string;
            password: string;
            username: string;
        };
        SecondStepRequest: {
            code?: string;
            credential?: {
                [key: string]: unknown;
            };
            recovery_code?: string;
            step: string;
        };
        SecurityEvent: {
            /** Format: date-time */
            created_at: string;
            readonly details: {
                [key: string]: unknown;
            };
            readonly device: string;
            readonly id: number;
            readonly ip_address: string | null;
            readonly is_disputable: boolean;
            /** Format: uuid */
            sid: string | null;
            type: components["schemas"]["SecurityEventType"];
        };
        /** @enum {string} */
        SecurityEventType: "signed_up" | "signed_in" | "api_key_made" | "signed_in_as" | "sign_in_failed" | "reauthenticated" | "signed_out" | "sign_in_ended" | "token_reused" | "password_changed" | "password_reset_asked" | "password_reset" | "email_confirmed" | "email_change_asked" | "email_change_cancelled" | "email_changed" | "user_deactivated" | "locked" | "unlocked" | "user_reactivated" | "user_edited" | "rights_changed" | "token_revoked" | "token_blocked" | "block_lifted" | "events_exported" | "factor_added" | "factor_renamed" | "factor_removed" | "factor_disabled" | "factor_removal_asked" | "factor_removal_stopped" | "recovery_codes_made" | "recovery_code_used" | "second_step_failed" | "account_connected" | "account_disconnected" | "passkey_counter" | "device_proof_failed";
        SessionPasskeyRequest: {
            credential: {
                [key: string]: unknown;
            };
            /** @default false */
            remember: boolean;
            step: string;
        };
        SessionResponse: {
            /** Format: date-time */
            readonly authenticated_at: string;
            readonly methods: components["schemas"]["MethodsEnum"][];
            readonly sign_in: components["schemas"]["SessionSignInResponse"];
            readonly user: components["schemas"]["User"];
        };
        SessionSignInRequest: {
            password: string;
            /** @default false */
            remember: boolean;
            username: string;
        };
        SessionSignInResponse: {
            /** Format: date-time */
            created_at: string;
            /** Format: date-time */
            expires_at: string;
            /** Format: uuid */
            readonly id: string;
        };
        SessionTokenRequest: {
            audience?: components["schemas"]["AudienceEnum"];
        };
        SessionTokenResponse: {
            access: string;
            expires_in: number;
            token_type: components["schemas"]["TokenType"];
        };
        SignIn: {
            readonly bound: boolean;
            /** Format: date-time */
            created_at: string;
            readonly current: boolean;
            readonly device: string;
            /** Format: date-time */
            expires_at: string;
            /** Format: uuid */
            readonly id: string;
            ip_address: string | null;
            kind: components["schemas"]["SignInKind"];
            /** Format: date-time */
            last_seen_at: string;
            name: string;
        };
        /** @enum {string} */
        SignInKind: "browser" | "client" | "key";
        TokenBlacklistRequest: {
            refresh: string;
        };
        TokenFormRequest: {
            token: string;
            token_type_hint?: string;
        } & {
            [key: string]: string;
        };
        TokenPair: {
            access: string;
            expires_in: number;
            refresh: string;
            refresh_expires_in: number;
            token_type?: components["schemas"]["TokenPairTokenTypeEnum"];
        };
        TokenPairRequest: {
            audience?: components["schemas"]["AudienceEnum"];
            code?: string;
            password: string;
            username: string;
        };
        /** @enum {string} */
        TokenPairTokenTypeEnum: "DPoP";
        TokenRefreshRequest: {
            refresh: string;
        };
        /** @enum {string} */
        TokenType: "Bearer" | "DPoP";
        TokenVerifyRequest: {
            token: string;
        };
        User: {
            /** Format: date-time */
            readonly date_joined: string;
            /**
             * E-mail address
             * Format: email
             */
            readonly email: string;
            readonly email_confirmed: boolean;
            first_name: string;
            readonly id: number;
            last_name: string;
            readonly new_email: string;
            readonly username: string;
        };
    };
    responses: {
        AddressTooLong: {
        };
        Forbidden: {
            content: {
                "application/json": components["schemas"]["Error"];
            };
        };
        Invalid: {
            content: {
                "application/json": components["schemas"]["InvalidInput"];
            };
        };
        LengthRequired: {
            content: {
                "application/json": components["schemas"]["Error"];
            };
        };
        NotAcceptable: {
            content: {
                "application/json": components["schemas"]["Error"];
            };
        };
        NotFound: {
            content: {
                "application/json": components["schemas"]["Error"];
            };
        };
        TooLarge: {
            content: {
                "application/json": components["schemas"]["Error"];
            };
        };
        TooManyRequests: {
            content: {
                "application/json": components["schemas"]["Error"];
            };
        };
        Unauthorized: {
            content: {
                "application/json": components["schemas"]["Error"];
            };
        };
        Unavailable: {
            content: {
                "application/json": components["schemas"]["Error"];
            };
        };
        UnsupportedMediaType: {
            content: {
                "application/json": components["schemas"]["Error"];
            };
        };
    };
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
