// Asks for a new run of the whole page when a background measurement has ended.
//
// A part of the page that polls cannot ask for that itself: the request could overtake a click on another page's
// link and take the user back. So it only signals, and the listener asks through the browser, once clicks have taken effect.

const READY = "quantscope-ready", WIDE = 1700, LEAVING = 10000;

// Nobody has just clicked (the page may be about to change), no run is under way, and no other page on its way.
function settled(S) {
  const app = document.querySelector("[data-testid=stApp]"), since = Date.now() - (S.click || 0);
  if (S.left === location.pathname && since < LEAVING) return false;
  return since > 500 && (!app || app.dataset.testScriptState === "notRunning");
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const S = parentElement.refresh || (parentElement.refresh = { fired: null });
  if (data.signal) {
    if (S.fired !== data.token) {
      S.fired = data.token;
      window.dispatchEvent(new Event(READY));
    }
    return () => { parentElement.refresh = undefined; };
  }
  S.run = (wait = 30) => {
    clearTimeout(S.timer);
    S.timer = setTimeout(() => (settled(S) ? setTriggerValue("ready", Date.now()) : S.run(120)), wait);
  };
  if (S.listener) window.removeEventListener(READY, S.listener);
  S.listener = () => S.run();
  window.addEventListener(READY, S.listener);
  const wide = window.innerWidth >= WIDE;
  if (wide !== data.wide && S.wide !== wide) component.setStateValue("wide", (S.wide = wide));
  if (!S.clicked) {
    S.clicked = (event) => {
      S.click = Date.now();
      const link = event.target instanceof Element && event.target.closest("[data-testid=stSidebarNav] a");
      S.left = link && link.pathname !== location.pathname ? location.pathname : null;
    };
    window.addEventListener("click", S.clicked, true);
  }
  return () => {
    clearTimeout(S.timer);
    window.removeEventListener(READY, S.listener);
    window.removeEventListener("click", S.clicked, true);
    parentElement.refresh = undefined;
  };
}
