// A list of any length: only the rows that one sees are in the page. Rows have one height; older ones may be put before.

const BUFFER = 12;

export class VirtualList {
  /** `render(row, index)` returns an element; `onEdge("older" | "newer")` is called near an end. */
  constructor(viewport, { render, onEdge, onSelect, onOpen, onScroll }) {
    this.viewport = viewport;
    this.render = render;
    this.onEdge = onEdge;
    this.onSelect = onSelect;
    this.onOpen = onOpen;
    this.onScroll = onScroll;
    this.rows = [];
    this.selected = -1;
    this.shown = new Map(); // elements by index
    this.spacer = document.createElement("div");
    this.spacer.className = "spacer";
    this.spacer.setAttribute("role", "presentation");
    viewport.append(this.spacer);
    this.frame = 0;
    viewport.addEventListener("scroll", () => this.later(), { passive: true });
    new ResizeObserver(() => this.refresh()).observe(viewport);
    viewport.addEventListener("click", (event) => {
      const row = event.target.closest("[data-index]");
      if (row) this.select(Number(row.dataset.index), { open: true });
    });
  }

  get height() {
    return parseFloat(getComputedStyle(this.viewport).getPropertyValue("--row")) || 25;
  }

  /** Whether the last row is in sight. */
  get isAtEnd() {
    const { scrollTop, clientHeight, scrollHeight } = this.viewport;
    return scrollHeight - scrollTop - clientHeight < 3;
  }

  clear() {
    this.rows = [];
    this.selected = -1;
    this.refresh();
  }

  /** Put rows behind the others. */
  append(rows, { stick = false } = {}) {
    this.rows.push(...rows);
    this.resize();
    if (stick) this.toEnd();
    this.later();
  }

  /** Put rows before the others, and keep what one sees where it is. */
  prepend(rows) {
    this.rows = rows.concat(this.rows);
    if (this.selected >= 0) this.selected += rows.length;
    const top = this.viewport.scrollTop + rows.length * this.height;
    this.forget();
    this.resize();
    this.viewport.scrollTop = top;
    this.later();
  }

  /** Take rows away from an end, so that memory has a bound. */
  trim(most, side) {
    const excess = this.rows.length - most;
    if (excess <= 0) return false;
    if (side === "newer") this.rows.length = most;
    else {
      const top = this.viewport.scrollTop - excess * this.height;
      this.rows = this.rows.slice(excess);
      this.viewport.scrollTop = Math.max(0, top);
    }
    this.selected = side === "newer" ? (this.selected < most ? this.selected : -1) : Math.max(-1, this.selected - excess);
    this.forget();
    this.resize();
    return true;
  }

  toEnd() {
    this.viewport.scrollTop = this.viewport.scrollHeight;
  }

  /** Select a row, and bring it into sight. */
  select(index, { open = false } = {}) {
    if (!this.rows.length) return;
    this.selected = Math.max(0, Math.min(index, this.rows.length - 1));
    const top = this.selected * this.height;
    const { scrollTop, clientHeight } = this.viewport;
    if (top < scrollTop) this.viewport.scrollTop = top;
    else if (top + this.height > scrollTop + clientHeight) this.viewport.scrollTop = top + this.height - clientHeight;
    this.refresh();
    this.onSelect(this.rows[this.selected]);
    if (open) this.onOpen(this.rows[this.selected]);
  }

  /** Bring a row to the middle. */
  center(index) {
    this.viewport.scrollTop = index * this.height - this.viewport.clientHeight / 2;
    this.select(index);
  }

  refresh() {
    this.forget();
    this.resize();
    this.later();
  }

  forget() {
    this.spacer.replaceChildren();
    this.shown.clear();
  }

  resize() {
    this.spacer.style.height = `${this.rows.length * this.height}px`;
  }

  later() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  draw() {
    const height = this.height;
    const { scrollTop, clientHeight } = this.viewport;
    const first = Math.max(0, Math.floor(scrollTop / height) - BUFFER);
    const last = Math.min(this.rows.length, Math.ceil((scrollTop + clientHeight) / height) + BUFFER);
    for (const [index, node] of this.shown) {
      if (index < first || index >= last) {
        node.remove();
        this.shown.delete(index);
      }
    }
    const added = document.createDocumentFragment();
    for (let index = first; index < last; index += 1) {
      if (this.shown.has(index)) continue;
      const node = this.render(this.rows[index], index);
      node.id = `row-${index}`;
      node.dataset.index = index;
      node.setAttribute("role", "option");
      node.setAttribute("aria-setsize", this.rows.length);
      node.setAttribute("aria-posinset", index + 1);
      node.setAttribute("aria-selected", index === this.selected);
      node.style.top = `${index * height}px`;
      this.shown.set(index, node);
      added.append(node);
    }
    this.spacer.append(added);
    if (this.shown.has(this.selected)) this.viewport.setAttribute("aria-activedescendant", `row-${this.selected}`);
    else this.viewport.removeAttribute("aria-activedescendant");
    this.onScroll(this.rows[Math.min(this.rows.length - 1, Math.floor(scrollTop / height))]);
    if (!this.rows.length) return;
    if (scrollTop < 30 * height) this.onEdge("older");
    if (last === this.rows.length) this.onEdge("newer");
  }
}
