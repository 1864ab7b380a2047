// Keys, mouse, address: how the view is moved, and what is said of what is under the pointer.
function set(from, to) {
  const least = 20, most = run.shownMs, span = Math.min(most, Math.max(least, to - from));
  if (to - from !== span) { const middle = (from + to) / 2; from = middle - span / 2; }
  view.from = Math.max(0, Math.min(most - span, from)); view.to = view.from + span;
  moved();
}
function scroll(by) { view.top = Math.max(0, Math.min(devices * view.lane - (height - AXIS - SERVER), view.top + by)); if (!(view.top > 0)) view.top = 0; moved(); }
function zoom(factor, px = (GUTTER + width) / 2) { const at = time(px); set(at - (at - view.from) * factor, at + (view.to - at) * factor); }
function pan(px) { const by = px / (width - GUTTER) * (view.to - view.from); set(view.from + by, view.to + by); }
/** As tall as a lane can be: both of its rails are seen. */
function tallest(lane) { return Math.max(3, Math.min(400, height - AXIS - SERVER, lane)); }
/** All lanes at once, as far as they are still to be told apart. */
function fit() { view.lane = tallest(Math.min(320, (height - AXIS - SERVER) / Math.max(1, devices))); view.top = 0; moved(); }
function taller(factor, y = height / 2) {
  const at = (y - AXIS - SERVER + view.top) / view.lane;
  view.lane = tallest(view.lane * factor); view.top = at * view.lane - (y - AXIS - SERVER); scroll(0);
}
let later = 0;
function moved() {
  redraw();
  clearTimeout(later);
  // The address tells the view, so that a link or a screenshot can show it. A viewer of local files may forbid that.
  later = setTimeout(() => { try { history.replaceState(null, "", `#from=${Math.round(view.from)}&to=${Math.round(view.to)}&lane=${Math.round(view.lane)}&top=${Math.round(view.top)}` + (view.chosen >= 0 ? `&frame=${view.chosen}` : "")); } catch { /* then not */ } }, 300);
}

const escape = text => String(text).replace(/[&<>"]/g, letter => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[letter]);
/** What noise did to a line, and what came of that. */
function harm(i) {
  const [flipped, dropped] = damaged.get(i), some = (number, what) => number ? [`${number} byte${number === 1 ? "" : "s"} ${what}`] : [];
  const did = [...some(flipped, "flipped"), ...some(dropped, "missing")].join(", ") || "it ran into the line before";
  return `<b class="hit">damaged by noise</b>: ${did}` + (run.checked && frames.texts[frames.text[i]] !== "" ? ", found out by its check and dropped" : "");
}
function fate(i) {
  const after = frames.after[i], part = partly.get(i);
  let said = rank[i] === DAMAGED ? harm(i) : after >= 0 ? `arrived after ${after} ms` : after === -2 ? "on its way when the run ended" : part ? `<b class="bad">lost in a cut</b>: ${part[0]} of ${part[1]} bytes arrived` : '<b class="bad">lost in a cut</b>';
  if (copyOf.has(i)) said += `; sent before at ${seconds(frames.at[copyOf.get(i)])}`;
  if (copiedBy.has(i)) said += `; sent again at ${seconds(frames.at[copiedBy.get(i)])}`;
  return said;
}
function describe(i) {
  const name = run.lanes[frames.lane[i]], way = frames.way[i] ? `server → ${name}` : `${name} → server`;
  const text = frames.texts[frames.text[i]];
  return `<b>${seconds(frames.at[i])}</b> ${escape(way)} · ${KINDS[frames.kind[i]]} · ${fate(i)} · link ${frames.stream[i]}<pre>${text === "" ? "(blank line)" : escape(text)}</pre>` +
    (rank[i] === DAMAGED ? `read as <pre>${escape(damaged.get(i)[2]) || "(nothing)"}</pre>` : "");
}
/** The frames within a few pixels of a point, the nearest first. */
function near(px, y) {
  const lane = laneAt(y);
  if (lane < 1 || lane > devices || px < GUTTER) return [];
  const list = byLane[lane], start = firstFrom(list, time(px - 30) - longest[lane], i => frames.at[i]), end = firstFrom(list, time(px + 6), i => frames.at[i]);
  const slanted = ladder() && end - start < width, way = y < laneY(lane) + view.lane / 2 ? 0 : 1, found = [];
  for (let place = start; place < end; place++) {
    const i = list[place];
    let far = Math.abs(x(frames.at[i]) + 0.8 - px) + (frames.way[i] === way ? 0 : 1.5);
    if (slanted) {
      const [x0, y0, x1, y1] = rung(i), dx = x1 - x0, dy = y1 - y0, t = Math.max(0, Math.min(1, ((px - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy || 1)));
      far = Math.hypot(x0 + t * dx - px, y0 + t * dy - y);
    }
    if (far < 6) found.push([far - rank[i] / 10, i]);
  }
  return found.sort((a, b) => a[0] - b[0]).map(([, i]) => i);
}
function state(px, y) {
  const lane = laneAt(y), at = time(px);
  if (lane < 0 || lane > devices || px < GUTTER) return "";
  const said = [];
  for (const outage of run.outages) if (outage.spans.some(([l, from, to]) => l === lane && from <= at && at <= to)) said.push(`<b>${escape(outage.name)}</b> ${escape(outage.words)}`);
  const bar = run.bars[lane].find(([from, to]) => from <= at && at < to);
  if (bar) said.push(`${STATES[bar[2]]} from ${seconds(bar[0])} to ${seconds(bar[1])}${bar[3] ? ": " + escape(bar[3]) : ""}`);
  if (lane === 0) { const place = firstFrom(steps, at + 1e-9, step => step[0]); said.push(`${place ? steps[place - 1][1] : 0} of ${devices} links up`); } else if (!bar) said.push("no link");
  return `<b>${seconds(at)}</b> ${escape(run.lanes[lane])}<br>${said.join("<br>")}`;
}
const tip = element("tip");
function say(html, px, y) {
  tip.hidden = html === "";
  if (tip.hidden) return;
  tip.innerHTML = html;
  const top = element("stage").offsetTop, box = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, px + 16 + box.width > width ? px - box.width - 12 : px + 16) + "px";
  tip.style.top = Math.max(0, y + 18 + box.height > height ? top + y - box.height - 12 : top + y + 18) + "px";
}
function hover(px, y) {
  const found = near(px, y);
  if (!found.length) return say(state(px, y), px, y);
  say(found.slice(0, 4).map(describe).join("") + (found.length > 4 ? `<div>… and ${found.length - 4} more here: zoom in</div>` : ""), px, y);
}
function choose(i) {
  if (!(i >= 0 && i < total)) return;
  view.chosen = i;
  const at = frames.at[i], y = laneY(frames.lane[i]);
  if (at < view.from || at > view.to) { const half = (view.to - view.from) / 2; set(at - half, at + half); }
  if (y < AXIS + SERVER || y + view.lane > height) scroll(y - height / 2);
  moved();
  say(describe(i), x(at), laneY(frames.lane[i]) + view.lane / 2);
}
function nextLost(by) {
  if (!lost.length) return;
  const middle = view.chosen >= 0 ? view.chosen : firstFrom(frames.at, (view.from + view.to) / 2, at => at);
  const place = firstFrom(lost, by > 0 ? middle + 1 : middle, i => i) - (by > 0 ? 0 : 1), i = lost[(place + lost.length) % lost.length];
  if (view.to - view.from > 4000) set(frames.at[i] - 1500, frames.at[i] + 1500);
  choose(i);
}
function nextFrame(by) {
  if (view.chosen < 0) return choose(firstFrom(frames.at, (view.from + view.to) / 2, at => at));
  const list = byLane[frames.lane[view.chosen]];
  choose(list[list.indexOf(view.chosen) + by]);
}

canvas.addEventListener("wheel", event => {
  event.preventDefault(); say("");
  const by = event.deltaY * (event.deltaMode ? 16 : 1);
  if (event.ctrlKey) taller(Math.exp(-by / 500), event.offsetY);
  else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan(event.deltaX || by);
  else if (event.offsetX < GUTTER) scroll(by);
  else zoom(Math.exp(by / 400), event.offsetX);
}, { passive: false });
let drag = null;
canvas.addEventListener("pointerdown", event => { drag = { x: event.offsetX, y: event.offsetY, far: 0 }; canvas.setPointerCapture(event.pointerId); });
canvas.addEventListener("pointermove", event => {
  if (!drag) return hover(event.offsetX, event.offsetY);
  const dx = event.offsetX - drag.x, dy = event.offsetY - drag.y;
  drag.far += Math.abs(dx) + Math.abs(dy); drag.x = event.offsetX; drag.y = event.offsetY;
  if (drag.far > 3) { say(""); pan(-dx); scroll(-dy); canvas.style.cursor = "grabbing"; }
});
canvas.addEventListener("pointerup", event => { if (drag && drag.far <= 3) { const [i] = near(event.offsetX, event.offsetY); view.chosen = i ?? -1; moved(); } drag = null; canvas.style.cursor = ""; });
canvas.addEventListener("pointerleave", () => say(""));
canvas.addEventListener("dblclick", event => zoom(0.25, event.offsetX));
let brushing = false;
function brush(event) { const at = (event.offsetX - GUTTER) / (width - GUTTER) * run.shownMs, half = (view.to - view.from) / 2; set(at - half, at + half); }
overview.addEventListener("pointerdown", event => { brushing = true; overview.setPointerCapture(event.pointerId); brush(event); });
overview.addEventListener("pointermove", event => brushing && brush(event));
overview.addEventListener("pointerup", () => { brushing = false; });
const keys = {
  "+": () => zoom(0.7), "=": () => zoom(0.7), "-": () => zoom(1.4), "0": () => set(0, run.shownMs), Home: () => set(0, view.to - view.from),
  End: () => set(run.shownMs - view.to + view.from, run.shownMs), ArrowLeft: () => pan(-120), ArrowRight: () => pan(120), ArrowUp: () => scroll(-60), ArrowDown: () => scroll(60),
  PageUp: () => scroll(-height / 2), PageDown: () => scroll(height / 2), "[": () => taller(0.8), "]": () => taller(1.25),
  a: fit, n: () => nextLost(1), p: () => nextLost(-1), ",": () => nextFrame(-1), ".": () => nextFrame(1), Escape: () => { view.chosen = -1; say(""); moved(); },
};
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key] || event.target.closest("details")) return;
  event.preventDefault(); keys[event.key]();
});
for (const [id, key] of [["whole", "0"], ["all", "a"], ["out", "-"], ["in", "+"], ["previous", "p"], ["next", "n"]]) element(id).addEventListener("click", keys[key]);

// What stands around the picture.
const count = number => number.toLocaleString("en");
element("name").innerHTML = `${escape(run.story)} <small>${escape(run.profile)}, seed ${run.seed}, ${count(devices)} device${devices === 1 ? "" : "s"}, ${seconds(run.storyMs, 1000)}</small>`;
element("about").textContent = run.about;
element("command").textContent = run.command;
element("hash").textContent = "trace " + run.hash;
element("copy").addEventListener("click", () => navigator.clipboard?.writeText(run.command));
const sums = [["sent", count(run.sent)], ["delivered", count(run.delivered)], ["lost", count(run.lost), run.lost], ["repeated", count(run.repeated), run.repeated], ["reordered", count(run.reordered), run.reordered],
  ...(run.damaged || damaged.size ? [["damaged", count(run.damaged), run.damaged]] : []),
  ["links", count(run.links)], ["longest pause", (run.pauseMs / 1000).toFixed(1) + " s"], ["bytes/message", run.bytesPerMessage.toFixed(1)]];
element("sums").innerHTML = `<tr>${sums.map(([name]) => `<th scope="col">${name}</th>`).join("")}</tr><tr>${sums.map(([, value, bad]) => `<td${bad ? ' class="bad"' : ""}>${value}</td>`).join("")}</tr>`;
element("verdict").innerHTML = run.violations.length ? `<span class="bad" title="${escape(run.violations.slice(0, 20).join("\n"))}">✗ The guarantee was broken: ${escape(run.violations[0])}${run.violations.length > 1 ? ` … (${run.violations.length})` : ""}</span>` : run.holes.length ? `<span class="again" title="${escape(run.holes.slice(0, 20).join("\n"))}">${run.profile} promised no more than this, but nobody forgot anything, and ${escape(run.holes[0])}${run.holes.length > 1 ? ` … (${run.holes.length})` : ""}</span>`
  : `<span class="good">✓ The guarantee held${run.lost ? ": what is lost, its sender lost with its memory, or said so" : ""}.</span>`;
if (run.endMs > run.shownMs) element("verdict").innerHTML += `<br><small>Quiet from ${seconds(run.shownMs, 1000)} to ${seconds(run.endMs, 1000)}: not shown.</small>`;
element("legend").innerHTML = [...KINDS.slice(1, 6).reverse(), "keepalive", "lost", ...(damaged.size ? ["noise"] : []), "again", "up", "greeting", "connecting", "off", "outage"]
  .map(name => `<span><i style="background:var(--${name})"></i>${{ hello: "hello, welcome", probe: "probe, rewind", again: "sent again", lost: "✕ lost in a cut", noise: "◇ damaged by noise", up: "link up", off: "power off" }[name] || name}</span>`).join("");
element("outages").open = run.outages.length <= 3;
element("outages").querySelector("summary").textContent = `${run.outages.length} outage${run.outages.length === 1 ? "" : "s"}`;
element("outages").querySelector("table").innerHTML = "<tr><th>outage<th>at<th>for<th>whom<th>how</tr>" + run.outages.map(outage =>
  (outage.atMs === null ? "<tr>" : `<tr data-from="${outage.atMs}" data-to="${outage.atMs + outage.forMs}" title="show it">`) + `<td>${escape(outage.name)}<td>${outage.atMs === null ? "never" : seconds(outage.atMs, 100)}<td>${seconds(outage.forMs, 100)}<td>${escape(outage.whom)}<td>${escape(outage.words)}</tr>`).join("");
element("outages").addEventListener("click", event => { const row = event.target.closest("tr[data-from]"); if (row) set(row.dataset.from - 2000, +row.dataset.to + 3000); });
element("outages").addEventListener("toggle", resize);
if (!lost.length) for (const id of ["previous", "next"]) element(id).disabled = true;

function read() {
  if (!view.lane) return;
  const told = new URLSearchParams(location.hash.slice(1)), number = name => told.has(name) && Number.isFinite(+told.get(name)) ? +told.get(name) : null;
  if (number("lane") !== null) view.lane = tallest(number("lane"));
  if (number("from") !== null && number("to") !== null) set(number("from"), number("to"));
  if (number("top") !== null) scroll(number("top") - view.top);
  if (number("frame") !== null) choose(number("frame"));
}
new ResizeObserver(resize).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", resize);
addEventListener("hashchange", read);
resize();
read();
