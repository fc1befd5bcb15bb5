// Icons are letters in a font of their own: a screen reader would read "chevron_left icon chevron_left". So they are
// hidden from it, and buttons that show nothing else are called by what they do.

const ICONS = '[data-testid="stIconMaterial"], span[role="img"][aria-label$=" icon"]';

function tidy(names) {
  for (const icon of document.querySelectorAll(ICONS)) {
    if (icon.getAttribute("aria-hidden") !== "true") icon.setAttribute("aria-hidden", "true");
  }
  for (const [key, name] of Object.entries(names)) {
    for (const button of document.querySelectorAll(`[class*="st-key-${key}"] button`)) {
      const part = button.closest(`[class*="st-key-"]`);
      const own = [...part.classList].some((c) => c === `st-key-${key}` || (key.endsWith("_") && c.startsWith(`st-key-${key}`)));
      if (own && button.getAttribute("aria-label") !== name) button.setAttribute("aria-label", name);
    }
  }
}

export default function ({ data }) {
  const manners = window.quantscopeManners ||= { names: {}, waiting: false };
  manners.names = data.names;
  const later = () => {
    if (manners.waiting) return;
    manners.waiting = true;
    requestAnimationFrame(() => { manners.waiting = false; tidy(manners.names); });
  };
  if (!manners.observer) {
    manners.observer = new MutationObserver(later);
    manners.observer.observe(document.body, { childList: true, subtree: true });
  }
  later();
}
