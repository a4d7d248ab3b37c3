// Shows beside the pointer, or the finger, what each line of a chart says there.
const told = document.createElement("div"), rule = document.createElement("div");
told.className = "told";
rule.className = "rule";
const NEAR = 16; // units of a chart's width
const known = new WeakMap();

function points(line) {
  if (!known.has(line)) {
    const values = line.dataset.at.split(" ").map((pair) => pair.split(",").map(Number));
    known.set(line, line.getAttribute("points").split(" ").map((pair, n) => {
      const [left, top] = pair.split(",");
      const dot = line.parentNode.querySelector(`circle[cx="${left}"][cy="${top}"] > title`);
      return { left: Number(left), x: values[n][0], y: values[n][1], note: dot?.textContent };
    }));
  }
  return known.get(line);
}

function shown(number) {
  return number.toLocaleString("en-US", { maximumSignificantDigits: 5 });
}

function hide() {
  told.remove();
  rule.remove();
}

function show(event) {
  const chart = event.target.closest?.("svg[data-x]");
  if (!chart) return hide();
  const box = chart.getBoundingClientRect(), scale = chart.viewBox.baseVal.width / box.width;
  const pointer = (event.clientX - box.left) * scale;
  const far = (point) => Math.abs(point.left - pointer);
  const found = [...chart.querySelectorAll("polyline[data-at]")]
    .map((line) => [line, points(line).reduce((best, each) => (far(each) < far(best) ? each : best))]);
  if (!found.length) return hide();
  const [, best] = found.reduce((one, other) => (far(other[1]) < far(one[1]) ? other : one));
  const rows = found.filter(([, point]) => Math.abs(point.left - best.left) <= NEAR).map(([line, point]) => {
    const row = document.createElement("div");
    row.textContent = point.note ?? [line.dataset.name, shown(point.y)].filter(Boolean).join(": ");
    row.style.borderLeft = `3px solid ${getComputedStyle(line).stroke}`;
    row.style.paddingLeft = "5px";
    return row;
  });
  const head = document.createElement("div");
  head.textContent = `${chart.dataset.x} ${shown(best.x)}`;
  told.replaceChildren(head, ...rows);
  document.documentElement.append(rule, told);
  const left = box.left + best.left / scale, { width, height } = told.getBoundingClientRect();
  rule.style.left = `${left}px`;
  rule.style.top = `${box.top}px`;
  rule.style.height = `${box.height}px`;
  told.style.left = `${Math.max(4, left + 10 + width < innerWidth ? left + 10 : left - 10 - width)}px`;
  told.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - height - 4))}px`;
}

document.addEventListener("pointermove", show);
document.addEventListener("pointerdown", show);
document.addEventListener("scroll", hide, { passive: true });
document.documentElement.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
