// Every visible text of a page, shadow trees and drawings included, with its contrast and the one that it needs.
() => {
  const colour = (text) => {
    const numbers = text.match(/[\d.]+(e-?\d+)?/g)?.map(Number) ?? [0, 0, 0, 0];
    const scale = text.startsWith("color(") ? 255 : 1;
    return [...numbers.slice(0, 3).map((c) => c * scale), numbers[3] ?? 1];
  };
  const over = (top, below) => {
    const alpha = top[3];
    return [0, 1, 2].map((i) => top[i] * alpha + below[i] * (1 - alpha)).concat(1);
  };
  const parent = (e) => e.parentElement ?? (e.getRootNode() instanceof ShadowRoot ? e.getRootNode().host : null);
  const background = (element, box) => {
    const layers = [], x = box.x + box.width / 2, y = box.y + box.height / 2;
    for (let e = element; e; e = parent(e)) {
      const style = getComputedStyle(e), around = e.getBoundingClientRect();
      const outside = x < around.left || x > around.right || y < around.top || y > around.bottom;
      if (outside && around.width * around.height < 10000) continue;  // a label beside its slider's knob
      if (e instanceof SVGElement && e.tagName !== "svg") continue;
      const found = colour(style.backgroundColor);
      if (found[3] > 0) layers.push(found);
      if (found[3] >= 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const light = ([r, g, b]) => {
    const part = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const ratio = (one, other) => {
    const [a, b] = [light(one), light(other)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const found = [];
  const look = (root) => {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (node.nodeType === Node.ELEMENT_NODE) {
        if (node.shadowRoot) look(node.shadowRoot);
        continue;
      }
      const text = node.textContent.trim();
      const element = node.parentElement ?? node.getRootNode().host;
      if (!text || !element || ["STYLE", "SCRIPT", "NOSCRIPT", "TITLE", "OPTION"].includes(element.tagName)) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      const box = range.getBoundingClientRect();
      if (box.width < 2 || box.height < 2) continue;
      if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
      let disabled = false, opacity = 1;
      for (let e = element; e; e = parent(e)) {
        disabled ||= e.matches("[disabled], [aria-disabled=true], [inert]");
        opacity *= Number(getComputedStyle(e).opacity);
      }
      if (disabled || opacity === 0) continue;
      const style = getComputedStyle(element);
      const drawn = element instanceof SVGElement;
      const ink = colour(drawn ? style.fill : style.color);
      ink[3] *= opacity * (drawn ? Number(style.fillOpacity) : 1);
      if (ink[3] === 0) continue;
      const behind = background(element, box);
      const size = parseFloat(style.fontSize), icon = style.fontFamily.includes("Material");
      const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      const value = ratio(over(ink, behind), behind);
      const wanted = icon || large ? 3 : 4.5;
      const place = element.closest("[data-testid]")?.dataset.testid ?? element.getRootNode().host?.tagName ?? "";
      found.push({
        text: text.slice(0, 300), code: !!element.closest("code, pre, kbd"), ratio: value, wanted, size,
        ink: over(ink, behind).slice(0, 3).map(Math.round), behind: behind.slice(0, 3).map(Math.round),
        place: `${place} ${element.tagName.toLowerCase()}.${element.getAttribute("class") ?? ""}`.slice(0, 90),
      });
    }
  };
  look(document.body);
  return found;
}
