// A deck of slides: one at a time within the page or over the whole screen, all of them on paper.
//
// Keys: arrows, space and Page keys turn, Home and End jump, Escape leaves, N shows the speaker's notes, F takes the
// whole screen. Slides change only by their content: figures that arrive while a slide is shown fill in.

const SWIPE = 45; // pixels

function drawSlide(slide, number, count, deck) {
  const root = element("section", `slide s-${slide.key}${slide.waiting ? " waiting" : ""}`);
  root.dataset.slide = slide.key;
  root.setAttribute("aria-roledescription", "slide");
  root.setAttribute("aria-label", `${number} of ${count}: ${slide.title}`);
  if (deck.banner) root.append(element("div", "banner", deck.banner));
  const head = element("header");
  head.append(element(slide.key === "opening" ? "h1" : "h2", "", slide.title));
  for (const sentence of slide.sentences) head.append(element("p", "", sentence));
  root.append(head);
  root.append(element("div", "picture"));
  if (slide.alt) root.append(element("div", "unseen", slide.alt));
  const foot = element("footer");
  if (slide.terms.length && slide.key !== "words") {
    const terms = element("dl", "terms");
    for (const term of slide.terms) {
      const entry = element("div");
      entry.append(element("dt", "", term.word), element("dd", "", term.meaning));
      terms.append(entry);
    }
    foot.append(terms);
  }
  const line = element("div", "basis");
  line.append(element("span", slide.caution ? "caution" : "", slide.basis), element("span", "number", `${number} / ${count}`));
  foot.append(line);
  root.append(foot);
  return root;
}

// The picture of a slide that is in the document: it takes the room that the words leave. Where words are too many
// or letters too wide for the room there is, everything becomes smaller.
function drawPicture(root, slide) {
  const sheet = root.querySelector(".slide"), middle = sheet.querySelector(".picture");
  for (const fit of [1, 0.94, 0.88, 0.82, 0.76, 0.7]) {
    sheet.style.setProperty("--fit", fit);
    middle.replaceChildren();
    const box = middle.getBoundingClientRect(), room = box.width ? box.height / box.width : 0.3;
    if (slide.picture) middle.append(PICTURES[slide.picture.kind](slide.picture, room));
    const lowest = Math.max(0, ...[...middle.querySelectorAll(":scope > :not(svg), :scope > :not(svg) *")].map((part) => part.getBoundingClientRect().bottom));
    const fits = sheet.scrollHeight <= sheet.clientHeight + 1 && lowest <= box.bottom + 2;
    if (fits && (!slide.picture || box.height > 0.28 * sheet.clientHeight)) break;
  }
}

class Deck {
  constructor(root, { remember = "", style = "" } = {}) {
    Object.assign(this, { root, remember, style, at: 0, data: undefined, drawn: "", notes: false });
    this.dialog = element("dialog", "deck");
    this.dialog.innerHTML = `<div class="tools"></div><div class="stage" tabindex="0" aria-live="polite"></div>
      <aside class="notes" aria-label="Speaker's notes" hidden></aside><nav class="rail" aria-label="Slides"></nav>`;
    root.append(this.dialog);
    for (const part of ["tools", "stage", "notes", "rail"]) this[`${part}Node`] = this.dialog.querySelector(`.${part}`);
    this.buttons();
    this.inline();
    this.stop = new AbortController();
    const on = (target, name, act, capture = false) => target.addEventListener(name, act, { signal: this.stop.signal, capture });
    on(window, "keydown", (event) => this.key(event), true);
    on(this.dialog, "cancel", (event) => { event.preventDefault(); this.leave(); });
    on(document, "fullscreenchange", () => { if (!document.fullscreenElement && this.whole) this.leave(); });
    on(window, "beforeprint", () => this.paper());
    on(window, "afterprint", () => this.sheets?.remove());
    this.sizes = new ResizeObserver(() => { if (this.data) drawPicture(this.stageNode, this.data.slides[this.at]); });
    this.sizes.observe(this.stageNode);
    document.fonts?.addEventListener("loadingdone", () => { if (this.data) drawPicture(this.stageNode, this.data.slides[this.at]); }, { signal: this.stop.signal });
    on(this.stageNode, "pointerdown", (event) => { this.touched = { x: event.clientX, y: event.clientY }; });
    on(this.stageNode, "pointerup", (event) => this.released(event));
  }

  buttons() {
    const make = (parent, cls, words, act, drawing) => {
      const button = element("button", cls);
      button.type = "button";
      button.setAttribute("aria-label", words);
      button.title = words;
      if (drawing) {
        const icon = svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" });
        icon.append(svg("path", { d: drawing }));
        button.append(icon);
      } else button.textContent = words;
      button.addEventListener("click", act);
      parent.append(button);
      return button;
    };
    const tools = this.toolsNode;
    this.startButton = make(tools, "start", "Present", () => this.present());
    this.notesButton = make(tools, "toggle", "Notes", () => this.toggleNotes());
    make(tools, "", "Print or save as PDF", () => window.print());
    this.backButton = make(tools, "icon previous", "Previous slide", () => this.turn(-1), "M 15 5 L 8 12 L 15 19");
    this.nextButton = make(tools, "icon next", "Next slide", () => this.turn(1), "M 9 5 L 16 12 L 9 19");
    this.leaveButton = make(tools, "icon leave", "Leave (Esc)", () => this.leave(), "M 6 6 L 18 18 M 18 6 L 6 18");
  }

  show(data) {
    this.data = data;
    if (!this.drawn && this.remember) this.at = data.slides.findIndex((slide) => slide.key === this.recalled());
    this.go(this.at);
  }

  go(number) {
    const { slides } = this.data, last = this.at;
    this.at = Math.max(0, Math.min(slides.length - 1, number));
    const slide = slides[this.at], content = JSON.stringify([slide, this.at, slides.length, this.data.banner]);
    if (content !== this.drawn) {
      this.stageNode.replaceChildren(drawSlide(slide, this.at + 1, slides.length, this.data));
      drawPicture(this.stageNode, slide);
      if (this.drawn && last !== this.at) this.stageNode.firstChild.classList.add("enter");
      this.drawn = content;
    }
    this.dots();
    this.speak(slide);
    this.backButton.disabled = this.at === 0;
    this.nextButton.disabled = this.at === slides.length - 1;
    if (this.remember) {
      try { sessionStorage.setItem(this.remember, slide.key); } catch { /* private windows may refuse */ }
    }
  }

  recalled() {
    try { return sessionStorage.getItem(this.remember); } catch { return null; }
  }

  turn(by) { this.go(this.at + by); }

  dots() {
    const { slides } = this.data;
    if (this.railNode.children.length !== slides.length) {
      this.railNode.replaceChildren(...slides.map((_, at) => {
        const dot = element("button", "at");
        dot.type = "button";
        dot.addEventListener("click", () => this.go(at));
        return dot;
      }));
    }
    [...this.railNode.children].forEach((dot, at) => {
      dot.setAttribute("aria-label", `Slide ${at + 1}: ${slides[at].title}`);
      dot.title = slides[at].title;
      if (at === this.at) dot.setAttribute("aria-current", "true");
      else dot.removeAttribute("aria-current");
    });
  }

  speak(slide) {
    const { slides } = this.data, next = slides[this.at + 1];
    const list = element("ul");
    for (const words of slide.notes) list.append(element("li", "", words));
    this.notesNode.replaceChildren(element("strong", "", "Speaker's notes"), list);
    if (next) this.notesNode.append(element("p", "next-up", `Next: ${next.title}`));
    this.notesNode.hidden = !this.notes;
    this.notesButton.setAttribute("aria-pressed", String(this.notes));
    this.dialog.classList.toggle("noted", this.notes);
  }

  toggleNotes() {
    this.notes = !this.notes;
    this.speak(this.data.slides[this.at]);
  }

  inline() {
    this.dialog.setAttribute("open", "");  // unlike show(), which would take the focus from the page
    this.dialog.setAttribute("role", "region");
    this.dialog.setAttribute("aria-label", "Presentation");
    this.dialog.removeAttribute("aria-modal");
  }

  get presenting() { return this.dialog.classList.contains("presenting"); }

  present() {
    this.dialog.classList.add("presenting");
    this.dialog.setAttribute("role", "dialog");
    this.onTop();
    this.full();
  }

  // Above everything else; anew once the document fills the screen, for that covers what was on top before.
  onTop() {
    this.dialog.close();
    this.dialog.showModal();
    this.stageNode.focus();
  }

  full() {
    if (document.fullscreenElement) return document.exitFullscreen?.();
    const wanted = document.documentElement.requestFullscreen?.();
    return wanted?.then(() => {
      if (!this.presenting) { document.exitFullscreen(); return; }  // left meanwhile
      this.whole = true;
      this.onTop();
    }, () => { /* refused: the window is filled all the same */ });
  }

  leave() {
    if (!this.presenting) return;
    const whole = this.whole;
    this.whole = false;
    this.dialog.close();
    this.dialog.classList.remove("presenting");
    this.inline();
    if (whole && document.fullscreenElement) document.exitFullscreen();
    this.startButton.focus();
  }

  key(event) {
    if (this.presenting) event.stopPropagation();  // the page's own shortcuts, as undo, are not for an audience
    if (!this.data || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.composedPath()[0];
    const typing = target instanceof Element && target.closest("input, textarea, select, [contenteditable]");
    const pressed = target instanceof Element && target.closest("button, a, [role=button]");
    const inside = this.presenting || this.dialog.contains(target);
    const turning = target === document.body && /^Arrow(Left|Right)$/.test(event.key);  // the rest scrolls the page
    if (typing || !(inside || turning)) return;
    if (pressed && (event.key === " " || event.key === "Enter")) return;
    const act = {
      ArrowRight: () => this.turn(1), ArrowDown: () => this.turn(1), PageDown: () => this.turn(1),
      ArrowLeft: () => this.turn(-1), ArrowUp: () => this.turn(-1), PageUp: () => this.turn(-1), Backspace: () => this.turn(-1),
      " ": () => this.turn(event.shiftKey ? -1 : 1),
      Home: () => this.go(0), End: () => this.go(this.data.slides.length - 1),
      n: () => this.toggleNotes(), N: () => this.toggleNotes(),
    }[event.key] ?? (this.presenting ? { f: () => this.full(), F: () => this.full(), Escape: () => this.leave(), Enter: () => this.turn(1) }[event.key] : undefined);
    if (!act) return;
    event.preventDefault();
    act();
  }

  released(event) {
    const { x, y } = this.touched ?? {};
    this.touched = undefined;
    if (x === undefined || (document.getSelection()?.toString() ?? "")) return;
    const dx = event.clientX - x, dy = event.clientY - y;
    if (Math.abs(dx) > SWIPE && Math.abs(dx) > Math.abs(dy)) this.turn(dx < 0 ? 1 : -1);
    else if (this.presenting && Math.hypot(dx, dy) < 8) {
      const box = this.stageNode.getBoundingClientRect();
      this.turn(event.clientX < box.left + box.width / 4 ? -1 : 1);
    }
  }

  // Every slide on a page of its own, beside the document's own content, which is not printed.
  paper() {
    if (!this.data) return;
    this.sheets?.remove();
    this.sheets = element("div", "quantscope-sheets");
    const shadow = this.sheets.attachShadow({ mode: "open" }), style = element("style", "", this.style);
    const page = element("style", "", "@page { size: 1280px 720px; margin: 0 } @media print { body > :not(.quantscope-sheets) { display: none !important } html, body { margin: 0 !important; height: auto !important; overflow: visible !important; background: #fff !important } } @media screen { .quantscope-sheets { position: fixed; left: -20000px; top: 0; width: 1280px } }");
    const { slides } = this.data;
    this.sheets.style.setProperty("--st-font", getComputedStyle(this.dialog).fontFamily);
    shadow.append(style, ...slides.map((slide, at) => {
      const sheet = element("div", "stage sheet");
      sheet.append(drawSlide(slide, at + 1, slides.length, this.data));
      return sheet;
    }));
    this.sheets.append(page);
    document.body.append(this.sheets);
    shadow.querySelectorAll(".sheet").forEach((sheet, at) => drawPicture(sheet, slides[at]));
  }

  end() {
    this.stop.abort();
    this.sizes.disconnect();
    this.sheets?.remove();
    this.dialog.remove();
  }
}
