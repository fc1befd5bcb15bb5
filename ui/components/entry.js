// Streamlit calls a component anew for each new value, and what a call returned when the element goes. But a call that
// is overtaken while the script still loads has its cleanup run at once, and that is after the next call: it would end
// what that one has just begun. So only the last call of an element cleans up.
export default function (component) {
  const { parentElement } = component, call = (parentElement.lastCall = {}), cleanup = main(component);
  return () => { if (parentElement.lastCall === call) cleanup?.(); };
}
