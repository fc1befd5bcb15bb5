// Asks for a new run of the whole page when a background measurement has ended.
//
// A part of the page that polls cannot ask for that itself: the request could overtake a click on another page's
// link and take the user back. So it only signals, and the listener asks through the browser, in the order of clicks.

const READY = "quantscope-ready";

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
  S.run = () => {
    clearTimeout(S.timer);
    S.timer = setTimeout(() => setTriggerValue("ready", Date.now()), 30);  // one run for what ends together
  };
  if (S.listener) window.removeEventListener(READY, S.listener);
  S.listener = () => S.run();
  window.addEventListener(READY, S.listener);
  return () => {
    clearTimeout(S.timer);
    window.removeEventListener(READY, S.listener);
    parentElement.refresh = undefined;
  };
}
