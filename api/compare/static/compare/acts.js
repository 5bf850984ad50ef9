// The five acts, and their buttons.

import { ask, claimsOf, expect, stage, Unexpected, urls, words } from "./http.js";
import { copied } from "./copied.js";
import { measure, showCosts } from "./costs.js";
import { change, showTiles } from "./letters.js";
import { keep, left, lose, refreshWith, renewPassport, showQuestion, SIGN_OUT, tokens, question } from "./passport.js";
import { showAlarm, showKept, showLane, showTrace } from "./results.js";
import { say, signedOut, stamp, swarm, thief, travel } from "./stage.js";

const cue = { start: document.getElementById("start"), out: document.getElementById("cue-out") };
const first = cue.start.textContent;
const tabs = document.getElementById("tabs");

let busy = false;
// A button that was pressed during an act: its act follows.
let next = null;

const byCookie = () => ask("wristband", "GET", urls.who);
const byToken = (bearer) => ask("passport", "GET", urls.who, { bearer });

// Actions of the buttons. Each returns its exchanges, and the name and values of its sentence.

const actions = {
  async who() {
    const wristband = await travel("wristband", byCookie);
    const passport = await travel("passport", () => byToken(tokens.access));
    const exchanges = [wristband, passport];
    const refused = await refusal(wristband, passport);
    if (refused) return { exchanges, name: refused };
    showCosts(exchanges);
    const statements = ({ costs }) => costs?.statements ?? "?";
    return { exchanges, name: "who", values: { wristband: statements(wristband), passport: statements(passport) } };
  },

  async tamper() {
    const { sent, changed } = change();
    const exchanges = [await travel("passport", () => byToken(sent), { gate: Boolean(changed) })];
    if (!changed) expect(exchanges[0]);
    const after = () => showTiles(sent);
    if (!changed) return { exchanges, after, name: "mended" };
    return { exchanges, after, name: "tamper", values: { place: changed.at + 1, letter: changed.letter } };
  },

  async out({ guess }) {
    const { access, refresh } = tokens;
    const landed = ({ answer }) => {
      if (!answer.ok) return;
      lose();
      say("ending");
    };
    const end = await travel("passport", () => ask("passport", "POST", SIGN_OUT, { body: { refresh } }), { landed });
    expect(end);
    const again = await travel("passport", () => byToken(access));
    if (again.answer.status !== 401) throw new Unexpected(again);
    await stamp(words.revoked);
    return { exchanges: [end, again], after: showKept, name: guess ? `out-${guess}` : "out", values: { left: left() } };
  },

  async tabs() {
    const { refresh } = tokens;
    const exchanges = await swarm("passport", Array.from({ length: tabs.value }, () => () => refreshWith(refresh)));
    const { good, successors, last } = raced(exchanges);
    if (last) keep(last);
    if (good < exchanges.length) exchanges.forEach(expect);
    return { exchanges, name: "tabs", values: { tabs: exchanges.length, good, successors } };
  },

  async lanes() {
    const each = (call) => Array.from({ length: tabs.value }, () => call);
    const values = { tabs: tabs.value };
    const a = await swarm("wristband", each(() => ask("wristband", "GET", "/api/session/")));
    a.forEach(expect);
    showLane("a", a);
    say("lane-a", values);
    const minted = await swarm("wristband", each(() => ask("wristband", "POST", "/api/session/token/", { body: {} })));
    const b = [...minted, ...(await swarm("wristband", minted.map((one) => () => byToken(expect(one).access))))];
    showLane("b", b);
    say("lane-b", values);
    const { refresh } = tokens;
    const renewed = await swarm("passport", each(() => refreshWith(refresh)));
    const { successors, last } = raced(renewed);
    const c = [...renewed, ...(await swarm("passport", renewed.map((one) => () => byToken(expect(one).access))))];
    showLane("c", c);
    keep(last);
    return { exchanges: [], name: "lane-c", values: { ...values, successors } };
  },

  async theft({ thief: order }) {
    const { refresh } = tokens;
    const [first, second] = order === "after" ? ["passport", "thief"] : ["thief", "passport"];
    thief();
    say("stolen");
    const landed = ({ answer }) => answer.ok && say(order === "after" ? "you-first" : "thief-first");
    const one = await travel(first, () => refreshWith(refresh), { landed });
    const two = await travel(first, () => refreshWith(expect(one).refresh));
    const newest = expect(two).access;
    const caught = ({ answer }) => answer.status === 401 && lose();
    const replay = await travel(second, () => refreshWith(refresh), { landed: caught });
    if (replay.answer.status !== 401) throw new Unexpected(replay);
    const refused = await travel(first, () => byToken(newest));
    if (refused.answer.status !== 401) throw new Unexpected(refused);
    await stamp(words.revoked);
    const after = () => Promise.all([showAlarm(), showKept()]);
    return { exchanges: [one, two, replay, refused], after, name: order === "after" ? "theft-after" : "theft-before" };
  },

  copied,

  async run() {
    return measure(() => accepted(byCookie()), () => accepted(byToken(tokens.access)));
  },
};

async function accepted(request) {
  const exchange = await request;
  expect(exchange);
  return exchange;
}

// The name of the sentence about a refused wristband or passport: its sign-in was ended elsewhere.
async function refusal(wristband, passport) {
  if (passport?.answer.status === 401) lose();
  if (wristband.answer.status === 401) {
    await signedOut(words.revoked);
    startAnew();
    return passport?.answer.status === 401 ? "out-both" : "out-band";
  }
  expect(wristband);
  return passport?.answer.ok ? null : "elsewhere";
}

// "Start" submits its form, which works without a sign-in.
function startAnew() {
  cue.start.textContent = first;
  cue.start.classList.remove("quiet");
  cue.start.removeAttribute("data-do");
  cue.start.type = "submit";
}

// After a response that an act does not expect.
async function explain(error) {
  // Without a session a POST is refused with 403.
  if (![401, 403].includes(error.exchange?.answer.status)) throw error;
  const wristband = await travel("wristband", byCookie);
  const passport = tokens && (await travel("passport", () => byToken(tokens.access)));
  const name = await refusal(wristband, passport);
  if (!name) throw error;
  return { exchanges: passport ? [wristband, passport] : [wristband], name };
}

// Refreshes with one token: how many were accepted, and how many different refresh tokens they returned.
function raced(exchanges) {
  const accepted = exchanges.filter(({ answer }) => answer.ok).map(({ data }) => data);
  const successors = new Set(accepted.map((data) => claimsOf(data.refresh).jti)).size;
  return { good: accepted.length, successors, last: accepted.at(-1) };
}

// Buttons

async function begin(action, options) {
  await renewPassport();
  if (question === "none") showQuestion("signed-in");
  const isFirst = cue.out.hidden;
  cue.out.hidden = false;
  // The form of "Start" has replaced the page, and with it the focus.
  if (isFirst && document.activeElement === document.body) cue.out.querySelector(".question").focus();
  if (cue.start.dataset.do) {
    cue.start.classList.add("quiet");
    cue.start.textContent = cue.start.dataset.again;
  }
  return actions[action](options);
}

function nowAsked() {
  if (!cue.start.dataset.do) return "out";
  return tokens ? "signed-in" : "ended";
}

async function perform(action, options, act) {
  busy = true;
  stage.setAttribute("aria-busy", "true");
  try {
    const { exchanges, name, values, after } = await begin(action, options).catch(explain);
    showQuestion(nowAsked());
    const said = act.querySelector(".said");
    said.replaceChildren(...say(name, values));
    said.hidden = false;
    showTrace(act, exchanges);
    await after?.();
  } catch (error) {
    say("trouble", { trouble: error.message });
  }
  busy = false;
  const button = next;
  next = null;
  if (button) await press(button);
  else stage.setAttribute("aria-busy", "false");
}

// A button beside the stage belongs to the act of its name.
function press(button) {
  const act = button.closest(".lanes, .act, .part") ?? document.getElementById(`act-${button.dataset.do}`);
  return perform(button.dataset.do, button.dataset, act);
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-do]");
  if (!button || button.dataset.do === "stop") return;
  if (busy) next = button;
  else press(button);
});

// The page was restored from the browser's cache: its tokens are revoked.
addEventListener("pageshow", ({ persisted }) => persisted && location.reload());

async function open(name) {
  // The response to the form shows the password once; a reload must not send the form again.
  history.replaceState(null, "", urls.kept);
  await perform("who", {}, document.getElementById("act-who"));
  if (name === "who") return;
  const panel = { lanes: "lanes", run: "costs" }[name] ?? `act-${name}`;
  document.getElementById(panel).scrollIntoView();
  // The reader chooses in the others.
  if (["tamper", "tabs", "lanes", "run"].includes(name)) await perform(name, {}, document.getElementById(panel));
}

document.getElementById("without").remove();
for (const each of document.querySelectorAll("[data-live]")) each.hidden = false;
if (urls.opening) open(urls.opening);
