// Passkeys: signs in, confirms, creates, and tells the browser which passkeys exist. Without JavaScript, pages offer the
// other methods. The result is sent with the form of the button, as `step` and `credential`; its page shows the errors.

const STEP_MILLISECONDS = 4 * 60 * 1000;

// An IP address cannot be a relying party id.
const canUse = Boolean(window.PublicKeyCredential?.parseRequestOptionsFromJSON)
  && !/^[\d.]+$|^\[/.test(location.hostname);
let pending = new AbortController();

async function readOptions(url) {
  const response = await fetch(url, { headers: { Accept: "application/json" } });
  if (!response.ok || response.redirected) throw new Error("expired");
  return response.json();
}

async function get(url, settings) {
  const { step, publicKey } = await readOptions(url);
  const options = PublicKeyCredential.parseRequestOptionsFromJSON(publicKey);
  return { step, credential: await navigator.credentials.get({ publicKey: options, ...settings }) };
}

async function create(url, settings) {
  const { step, publicKey } = await readOptions(url);
  const options = PublicKeyCredential.parseCreationOptionsFromJSON(publicKey);
  return { step, credential: await navigator.credentials.create({ publicKey: options, ...settings }) };
}

function send(form, { step, credential }) {
  const values = { step, credential: JSON.stringify(credential.toJSON()) };
  for (const [name, value] of Object.entries(values)) {
    form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
  }
  // The password is not part of a sign-in by passkey.
  if (form.elements.password) form.elements.password.value = "";
  form.submit();
}

function describe(error, texts) {
  if (error.name === "InvalidStateError") return texts.exists;
  return error.name === "NotAllowedError" ? texts.cancelled : texts.failed;
}

async function use(box) {
  const message = box.querySelector("[role=alert]");
  message.textContent = "";
  pending.abort();
  try {
    send(box.closest("form"), await (box.dataset.passkey === "create" ? create : get)(box.dataset.options));
  } catch (error) {
    // The page of a step that has expired says so.
    if (error.message === "expired") location.reload();
    else message.textContent = describe(error, box.dataset);
    suggest(box);
  }
}

function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => { document.addEventListener("visibilitychange", resolve, { once: true }); });
}

// The browser suggests passkeys in the field of the username. The options are renewed before their step expires.
async function suggest(box) {
  if (!box.closest("form").querySelector("[autocomplete~=webauthn]")) return;
  pending = new AbortController();
  if (!await PublicKeyCredential.isConditionalMediationAvailable?.()) return;
  const { signal: stopped } = pending;
  while (!stopped.aborted) {
    await visible();
    const signal = AbortSignal.any([stopped, AbortSignal.timeout(STEP_MILLISECONDS)]);
    try {
      send(box.closest("form"), await get(box.dataset.options, { mediation: "conditional", signal }));
      return;
    } catch (error) {
      if (error.name !== "TimeoutError") return;
    }
  }
}

async function createQuietly(form) {
  const { conditionalCreate } = await PublicKeyCredential.getClientCapabilities?.() ?? {};
  if (!conditionalCreate) return;
  try {
    send(form, await create(form.dataset.conditionalCreate, { mediation: "conditional" }));
  } catch {
    // The password manager has not saved the password, or has a passkey already. The offer is still on the page.
  }
}

async function signal({ unknown, accepted, details }) {
  try {
    if (unknown) await PublicKeyCredential.signalUnknownCredential?.(unknown);
    if (accepted) await PublicKeyCredential.signalAllAcceptedCredentials?.(accepted);
    if (details) await PublicKeyCredential.signalCurrentUserDetails?.(details);
  } catch {
    // Signals are hints.
  }
}

if (canUse) {
  document.querySelectorAll(".passkey-missing").forEach((each) => { each.hidden = true; });
  document.querySelectorAll("[data-passkey]").forEach((box) => {
    box.hidden = false;
    box.querySelector("button").addEventListener("click", () => use(box));
    suggest(box);
  });
  document.querySelectorAll("[data-conditional-create]").forEach(createQuietly);
  const signals = document.getElementById("passkey-signals");
  if (signals) signal(JSON.parse(signals.textContent));
}
