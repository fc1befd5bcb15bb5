// Icons are letters in a font of their own: a screen reader would read "chevron_left icon chevron_left". So they are
// hidden from it, and buttons that show nothing else are called by what they do. Those that stand in each entry of a list
// say of which.

const ICONS = '[data-testid="stIconMaterial"], span[role="img"][aria-label$=" icon"]';

// The key of the part of the page that a button is.
function own(button) {
  const part = button.closest('[class*="st-key-"]');
  return [...part.classList].find((c) => c.startsWith("st-key-")).slice("st-key-".length);
}

function name(button, words) {
  if (button.getAttribute("aria-label") !== words) button.setAttribute("aria-label", words);
}

// What a button shows besides icons.
function shown(button) {
  const copy = button.cloneNode(true);
  for (const icon of copy.querySelectorAll(ICONS)) icon.remove();
  return copy.textContent.trim();
}

// The title of the entry of a list that a button stands in: the only bold words around it.
function title(button) {
  for (let around = button.parentElement; around; around = around.parentElement) {
    const bold = around.querySelectorAll("strong");
    if (bold.length) return bold.length === 1 ? bold[0].textContent.trim() : "";
  }
  return "";
}

function tidy(names, entries) {
  for (const icon of document.querySelectorAll(ICONS)) {
    if (icon.getAttribute("aria-hidden") !== "true") icon.setAttribute("aria-hidden", "true");
  }
  for (const key of entries) {
    for (const button of document.querySelectorAll(`[class*="st-key-${key}"] button`)) {
      const words = names[key] || shown(button), of = title(button);
      if (words && of && !names[own(button)]) name(button, `${words}: ${of}`);
    }
  }
  for (const [key, words] of Object.entries(names)) {
    if (entries.includes(key)) continue;
    for (const button of document.querySelectorAll(`.st-key-${key} button`)) {
      if (own(button) === key) name(button, words);
    }
  }
}

function main({ data }) {
  const manners = window.quantscopeManners ||= { names: {}, entries: [], waiting: false };
  [manners.names, manners.entries] = [data.names, data.entries];
  const later = () => {
    if (manners.waiting) return;
    manners.waiting = true;
    requestAnimationFrame(() => { manners.waiting = false; tidy(manners.names, manners.entries); });
  };
  if (!manners.observer) {
    manners.observer = new MutationObserver(later);
    manners.observer.observe(document.body, { childList: true, subtree: true });
  }
  later();
}
