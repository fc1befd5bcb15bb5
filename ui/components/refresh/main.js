// Asks for a new run: of a part of the page again and again (`tick`), or of the whole page when a background
// measurement has ended (`signal`, heard by the one listener of the page).
//
// The server stops a run for the next one of the whole page, and with it what a click has just asked for; and each
// request names the page that the browser shows, so that one made on the way to another page would lead back. So nothing
// is asked until what the user did has been answered. Polling by the server (`run_every`) cannot be held back like that.

const READY = "quantscope-ready", WIDE = 1700, LEAVING = 10000, ANSWERED = 700, SENT = 60, AGAIN = 3000;

// Of the window, not of one component: it outlives a new drawing of the page.
const acted = window.quantscopeActed || (window.quantscopeActed = follow());

function follow() {
  const last = { time: -Infinity, left: null, since: -Infinity };  // of a clock that nobody sets
  for (const kind of ["pointerdown", "pointerup", "keydown", "input", "change"]) {
    window.addEventListener(kind, () => { last.time = performance.now(); }, true);
  }
  window.addEventListener("click", (event) => {
    const link = event.target instanceof Element && event.target.closest("[data-testid=stSidebarNav] a");
    last.time = last.since = performance.now();
    const elsewhere = event.ctrlKey || event.metaKey || event.shiftKey;  // in a tab or window of its own
    last.left = link && !elsewhere && link.pathname !== location.pathname ? location.pathname : null;
  }, true);
  return last;
}

function leaving() {
  return acted.left === location.pathname && performance.now() - acted.since < LEAVING;
}

function atRest() {
  const app = document.querySelector("[data-testid=stApp]");
  return !app || app.dataset.testScriptState === "notRunning";
}

// Whether a request is in nobody's way; `quiet` are the ms since the user last did anything.
function free(quiet) {
  return !leaving() && atRest() && performance.now() - acted.time > quiet;
}

// A run of the whole page takes an open dialog away and puts another in its place: for a moment there is none, and the
// Escape that was meant for it is lost.
function dialog() {
  return document.querySelector("[data-testid=stDialog]") !== null;
}

// Streamlit sends a component's event from a timer of 0 ms. A click that comes before that timer is sent first, and the
// event after it, with the page that was left; and what else is pressed meanwhile goes out as if that part of the page
// had been meant. So here it is sent at once.
function send(ask) {
  const later = window.setTimeout;
  window.setTimeout = (run, wait, ...args) => (wait ? later(run, wait, ...args) : queueMicrotask(() => run(...args)));
  try {
    ask();
  } finally {
    window.setTimeout = later;
  }
}

function tick(S, every, seen) {
  const look = () => {
    const now = free(SENT) && !(seen && document.hidden);
    if (now) send(S.ask);
    S.timer = setTimeout(look, now ? AGAIN : 40);  // again, should the request come to nothing
  };
  clearTimeout(S.timer);
  S.timer = setTimeout(look, every);
}

// Undo belongs to a text field while one has the focus: what the browser then takes back is the typing. A box to choose
// from in which nothing is typed has nothing to take back.
const TYPED = "textarea, input:not([type]), input:is([type=text], [type=number], [type=search], [type=password])";
window.quantscopeUndo ||= (() => {
  window.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || !["z", "y"].includes(event.key.toLowerCase())) return;
    const field = event.composedPath()[0];
    if (!(field instanceof Element) || !(field.matches(TYPED) || field.isContentEditable)) return;
    if (field.role !== "combobox" || field.value) event.stopImmediatePropagation();
  }, true);
  return true;
})();

// Tells the other tabs of this browser which step is shown; who shows another one of the same project looks at the disk.
function tell(S, data, look) {
  if (!S.tabs) {
    S.tabs = new BroadcastChannel("quantscope");
    S.tabs.onmessage = ({ data: said }) => { if (said.project === S.project && said.step !== S.step) look(); };
  }
  const anew = S.step !== data.step;
  [S.project, S.step] = [data.project, data.step];
  if (anew && data.project) S.tabs.postMessage({ project: data.project, step: data.step });
}

function main(component) {
  const { data, parentElement, setTriggerValue } = component;
  const S = parentElement.refresh || (parentElement.refresh = { fired: null });
  if (data.every) {
    S.ask = () => setTriggerValue("tick", data.count);
    if (S.count !== data.count) tick(S, data.every, data.seen);
    S.count = data.count;
    return () => { clearTimeout(S.timer); parentElement.refresh = undefined; };
  }
  if (data.signal) {
    if (S.fired !== data.token) {
      S.fired = data.token;
      window.dispatchEvent(new Event(READY));
    }
    return () => { parentElement.refresh = undefined; };
  }
  S.run = (ask, wait = 30) => {
    clearTimeout(S.timer);
    S.timer = setTimeout(() => (free(ANSWERED) && !dialog() ? send(ask) : S.run(ask, 100)), wait);
  };
  if (S.listener) window.removeEventListener(READY, S.listener);
  S.listener = () => S.run(() => setTriggerValue("ready", Date.now()));
  window.addEventListener(READY, S.listener);
  tell(S, data, () => S.listener());
  const wide = window.innerWidth >= WIDE;
  if (wide !== data.wide && S.wide !== wide) S.run(() => component.setStateValue("wide", (S.wide = wide)));
  return () => {
    clearTimeout(S.timer);
    window.removeEventListener(READY, S.listener);
    S.tabs.close();
    parentElement.refresh = undefined;
  };
}
