// A thief with copies of the cookies: the server checks what they are worth after the term.

import { ask, expect, urls } from "./http.js";
import { thief, travel } from "./stage.js";

export async function copied() {
  thief();
  const exchange = await travel("wristband", () => ask("wristband", "GET", urls.copied));
  return { exchanges: [exchange], name: expect(exchange).bound ? "copied-bound" : "copied-unbound" };
}
