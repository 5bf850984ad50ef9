// A plugin for Swagger UI that names unnamed controls, removes links inside buttons, and hides the form for DPoP.

const NAMES = [
  ["#servers", "Server"],
  ["select.examples-select-element", "Example"],
  ["select.content-type", "Media type"],
  [".response-controls select", "Media type"],
  [".content-type-wrapper select", "Media type"],
  [".body-param__text", "Request body"],
  ["button.close-modal", "Close"],
  ["button.authorization__btn", "Authorize this call"],
  [".copy-to-clipboard button", "Copy"],
  ["table.responses-table[role=region]", "Responses"],
  [".servers select, .opblock-section select, select", "Choice"],
  ["textarea", "Text"],
];
// Swagger UI starts with a heading of the second level, and skips levels.
const LEVELS = [[".info .title", 1], [".opblock-tag, .models h4", 2], [".opblock-section-header h4, .responses-inner h4", 3], [".opblock-section-header h5, .responses-inner h5, .response h5, .response h4", 4], [".modal-ux h3", 2], [".modal-ux h4", 3], [".modal-ux h6", 4]];

const ROLES = [
  [".information-container", "region", "About this API"],
  [".scheme-container", "region", "Server and authorization"],
  [".schemes-server-container", "group", "Server"],
  [".modal-ux", "dialog", "Available authorizations"],
];

function nameControls() {
  for (const [selector, name] of NAMES) {
    for (const each of document.querySelectorAll(`${selector.split(", ").map((one) => `${one}:not([aria-label])`).join(", ")}`)) {
      const block = each.closest(".opblock")?.querySelector(".opblock-summary-description")?.textContent;
      const code = each.closest(".response")?.dataset.code;
      each.setAttribute("aria-label", [name, block, code].filter(Boolean).join(", "));
    }
  }
  for (const [selector, level] of LEVELS) {
    for (const each of document.querySelectorAll(selector)) {
      if (each.ariaLevel !== String(level)) each.setAttribute("aria-level", level);
    }
  }
  for (const [selector, role, name] of ROLES) {
    for (const each of document.querySelectorAll(`${selector}:not([role])`)) {
      each.setAttribute("role", role);
      each.setAttribute("aria-label", name);
    }
  }
  for (const each of document.querySelectorAll(".highlight-code > pre, .opblock-description pre, pre.microlight")) {
    if (!each.hasAttribute("tabindex")) each.setAttribute("tabindex", "0");
  }
}

// DPoP needs a new proof for each call, which Swagger UI cannot make.
function withoutDpop(spec) {
  const schemes = spec.components?.securitySchemes ?? {};
  const unusable = Object.keys(schemes).filter((name) => schemes[name].scheme === "dpop");
  const operations = Object.values(spec.paths ?? {}).flatMap((path) => Object.values(path));
  for (const name of unusable) {
    delete schemes[name];
    for (const each of operations) {
      if (each.security) each.security = each.security.filter((one) => !(name in one));
    }
    spec.info.description += ` Tokens that are bound to a key (\`${name}\`, RFC 9449) need a new proof for each call. This page cannot make proofs.`;
  }
  return spec;
}

// The global name that SWAGGER_UI_SETTINGS refers to.
globalThis.AccessibleDocs = ({ React }) => ({
  wrapComponents: {
    DeepLink: () => ({ text }) => React.createElement("span", null, text),
  },
  statePlugins: {
    spec: {
      wrapActions: {
        updateJsonSpec: (original) => (spec) => original(withoutDpop(spec)),
      },
    },
  },
});

new MutationObserver(nameControls).observe(document.getElementById("swagger-ui"), { childList: true, subtree: true });
