"use strict";
// The picture of a run: what is drawn, and where. The keys and the mouse are in the second half, viewer_input.js.
const run = JSON.parse(document.getElementById("data").textContent);
const element = id => document.getElementById(id);
const KINDS = ["keepalive", "ack", "message", "probe", "bye", "hello", "torn"];
const STATES = ["connecting", "greeting", "up", "off"];
const LOST = 9, DAMAGED = 8, AGAIN = 7; // ranks behind those of the kinds: the highest rank in a column of pixels is what is drawn
const GUTTER = 128, AXIS = 24, SERVER = 56;
const HEIGHT = [0.28, 0.5, 0.8, 0.9, 1, 1, 1, 0.9, 0.95, 1];

const frames = run.frames, total = frames.at.length;
for (let i = 1; i < total; i++) frames.at[i] += frames.at[i - 1];
const partly = new Map(frames.partly.map(([i, got, of]) => [i, [got, of]]));
const damaged = new Map(frames.damaged.map(([i, ...damage]) => [i, damage]));
const copyOf = new Map(frames.copies), copiedBy = new Map(frames.copies.map(([i, before]) => [before, i]));
const rank = Uint8Array.from({ length: total }, (_, i) =>
  frames.after[i] === -1 ? LOST : damaged.has(i) ? DAMAGED : copyOf.has(i) ? AGAIN : frames.kind[i]);
const byLane = run.lanes.map(() => []);
for (let i = 0; i < total; i++) byLane[frames.lane[i]].push(i);
const longest = byLane.map(list => list.reduce((most, i) => Math.max(most, frames.after[i]), 0));
const lost = []; for (let i = 0; i < total; i++) if (rank[i] >= DAMAGED) lost.push(i);

// How many links are up, as steps, and the spans of the outages by lane.
const steps = [];
for (const bars of run.bars) for (const [from, to, state] of bars) if (state === 2) steps.push([from, 1], [to, -1]);
steps.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
{ let up = 0; for (const step of steps) step[1] = up += step[1]; }
const devices = run.lanes.length - 1;

const canvas = element("lanes"), overview = element("overview");
const view = { from: 0, to: run.shownMs, top: 0, lane: 0, chosen: -1 };
let width = 0, height = 0, colour = {}, small = null;

const x = at => GUTTER + (at - view.from) / (view.to - view.from) * (width - GUTTER);
const time = px => view.from + (px - GUTTER) / (width - GUTTER) * (view.to - view.from);
const laneY = lane => lane === 0 ? AXIS : AXIS + SERVER + (lane - 1) * view.lane - view.top;
const laneAt = y => y < AXIS ? -1 : y < AXIS + SERVER ? 0 : 1 + Math.floor((y - AXIS - SERVER + view.top) / view.lane);
const ladder = () => view.lane >= 40 && (width - GUTTER) / (view.to - view.from) >= 0.35;

/** The first place in a sorted list whose time is not before `at`. */
function firstFrom(list, at, time) {
  let low = 0, high = list.length;
  while (low < high) { const middle = low + high >> 1; if (time(list[middle]) < at) low = middle + 1; else high = middle; }
  return low;
}

function seconds(ms, step = 1) {
  const digits = step >= 1000 ? 0 : step >= 100 ? 1 : step >= 10 ? 2 : 3;
  return (ms / 1000).toFixed(digits) + " s";
}

function tick() {
  const rough = (view.to - view.from) / Math.max(1, (width - GUTTER) / 110);
  const power = 10 ** Math.floor(Math.log10(rough));
  return Math.max(1, power * [1, 2, 5, 10].find(factor => factor * power >= rough));
}

function resize() {
  const scale = window.devicePixelRatio || 1;
  for (const each of [canvas, overview]) {
    const box = each.getBoundingClientRect();
    each.width = Math.round(box.width * scale); each.height = Math.round(box.height * scale);
    each.getContext("2d").setTransform(scale, 0, 0, scale, 0, 0);
    if (each === canvas) { width = box.width; height = box.height; }
  }
  const style = getComputedStyle(document.documentElement);
  for (const name of ["paper", "panel", "ink", "soft", "line", "stripe", "outage", "lost", "noise", "again", ...STATES, ...KINDS])
    colour[name] = style.getPropertyValue("--" + name).trim();
  small = null;
  // A few devices share the height; of many, each gets a line.
  if (!view.lane && height > 0) view.lane = Math.max(17, Math.min(320, Math.floor((height - AXIS - SERVER) / Math.max(1, devices))));
  else if (height > 0) view.lane = tallest(view.lane);
  // At once: a canvas that has a new size is blank, and would be shown so for a frame.
  draw();
  drawOverview();
}

let asked = false;
function redraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; draw(); drawOverview(); });
}

const rankColour = r => r === LOST ? colour.lost : r === DAMAGED ? colour.noise : r === AGAIN ? colour.again : colour[KINDS[r]];

function draw() {
  const c = canvas.getContext("2d");
  c.fillStyle = colour.paper; c.fillRect(0, 0, width, height);
  const step = tick();
  const first = Math.max(1, laneAt(AXIS + SERVER)), last = Math.min(devices, laneAt(height));
  const visible = []; for (let lane = first; lane <= last; lane++) visible.push(lane);
  c.save(); c.beginPath(); c.rect(0, AXIS + SERVER, width, height); c.clip();
  for (const lane of visible) if (lane % 2) { c.fillStyle = colour.stripe; c.fillRect(0, laneY(lane), width, view.lane); }
  c.restore();
  grid(c, step);
  c.save(); c.beginPath(); c.rect(GUTTER, AXIS + SERVER, width - GUTTER, height); c.clip();
  for (const lane of visible) drawBars(c, lane);
  drawOutages(c, visible);
  for (const lane of visible) drawFrames(c, lane);
  outageNames(c);
  c.restore();
  c.save(); c.beginPath(); c.rect(GUTTER, AXIS, width - GUTTER, SERVER); c.clip();
  drawServer(c); drawOutages(c, [0]); outageNames(c);
  c.restore();
  labels(c, visible);
  scrollbar(c);
}

/** Where the lanes that are seen are among all of them. */
function scrollbar(c) {
  const seen = height - AXIS - SERVER, all = devices * view.lane;
  if (all <= seen + 1) return;
  c.fillStyle = colour.soft; c.globalAlpha = 0.55;
  c.fillRect(width - 6, AXIS + SERVER + view.top / all * seen, 4, Math.max(12, seen / all * seen)); c.globalAlpha = 1;
}

function grid(c, step) {
  c.font = "11px system-ui, sans-serif"; c.textBaseline = "middle"; c.textAlign = "center";
  for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) {
    c.fillStyle = colour.line; c.fillRect(Math.round(x(at)), AXIS, 1, height);
    c.fillStyle = colour.soft; if (x(at) < width - 24) c.fillText(seconds(at, step), x(at), AXIS / 2);
  }
  if (run.storyMs > view.from && run.storyMs < view.to) {
    const px = Math.round(x(run.storyMs));
    c.fillStyle = colour.soft; c.fillRect(px, AXIS, 1, height);
  }
}

function labels(c, visible) {
  c.fillStyle = colour.paper; c.fillRect(0, AXIS, GUTTER, height);
  c.font = "12px system-ui, sans-serif"; c.textAlign = "right"; c.textBaseline = "middle";
  c.save(); c.beginPath(); c.rect(0, AXIS + SERVER, GUTTER, height); c.clip();
  const every = [1, 5, 10].find(lanes => lanes * view.lane >= 11) ?? 20;
  for (const lane of visible) {
    const middle = laneY(lane) + view.lane / 2, y = view.lane < 11 ? Math.max(AXIS + SERVER + 7, middle) : middle;
    c.fillStyle = colour.ink;
    if ((lane - 1) % every === 0) c.fillText(run.lanes[lane], GUTTER - 10, y, GUTTER - 16);
    if (view.lane >= 60) {
      c.fillStyle = colour.soft; c.font = "10px system-ui, sans-serif";
      c.fillText("device →", GUTTER - 10, laneY(lane) + 9); c.fillText("server →", GUTTER - 10, laneY(lane) + view.lane - 12);
      c.font = "12px system-ui, sans-serif";
    }
  }
  c.restore();
  c.fillStyle = colour.ink; c.fillText(run.lanes[0], GUTTER - 10, AXIS + 18);
  c.fillStyle = colour.soft; c.font = "10px system-ui, sans-serif"; c.fillText("links up, of " + devices, GUTTER - 10, AXIS + 36);
  c.fillStyle = colour.line;
  c.fillRect(0, AXIS, width, 1); c.fillRect(0, AXIS + SERVER - 1, width, 1); c.fillRect(GUTTER - 1, AXIS, 1, height);
}

function drawServer(c) {
  const base = AXIS + SERVER - 2, tall = (SERVER - 12) / Math.max(1, devices);
  c.beginPath(); c.moveTo(x(0), base);
  let level = 0;
  for (const [at, up] of steps) { const px = Math.max(GUTTER - 5, Math.min(width + 5, x(at))); c.lineTo(px, base - level * tall); c.lineTo(px, base - up * tall); level = up; }
  c.lineTo(x(run.shownMs), base - level * tall); c.lineTo(x(run.shownMs), base); c.closePath();
  c.globalAlpha = 0.3; c.fillStyle = colour.up; c.fill(); c.globalAlpha = 1; c.strokeStyle = colour.up; c.lineWidth = 1; c.stroke();
  bars(c, 0, AXIS, SERVER);
}

function drawBars(c, lane) { bars(c, lane, laneY(lane), view.lane); }

function bars(c, lane, y, tall) {
  const list = run.bars[lane], thin = tall < 10 ? 1 : tall < 30 ? 2 : 4;
  for (let i = firstFrom(list, view.from, bar => bar[1]); i < list.length && list[i][0] <= view.to; i++) {
    const [from, to, state] = list[i], left = x(from), wide = Math.max(1, x(to) - left);
    c.fillStyle = colour[STATES[state]];
    c.globalAlpha = state === 3 ? 0.22 : 0.12; c.fillRect(left, y + 1, wide, tall - 2);
    c.globalAlpha = 1; c.fillRect(left, y + tall - thin - 1, wide, thin);
  }
}

/** Outages, shaded over all lanes they concern; neighbours that share one get one label. */
function drawOutages(c, lanes) {
  const shown = new Set(lanes);
  run.outages.forEach(outage => {
    let before = null;
    for (const [lane, from, to] of outage.spans) {
      if (to < view.from || from > view.to || !shown.has(lane)) continue;
      const left = x(from), wide = Math.max(2, x(to) - left), y = laneY(lane), tall = lane === 0 ? SERVER : view.lane;
      c.fillStyle = colour.outage; c.globalAlpha = 0.16; c.fillRect(left, y, wide, tall);
      c.globalAlpha = 0.8; c.fillRect(left, y, 1, tall); c.globalAlpha = 0.35; c.fillRect(left + wide - 1, y, 1, tall); c.globalAlpha = 1;
      if (before && before[0] === lane - 1 && before[1] === from && lane !== lanes[0]) { before = [lane, from]; continue; }
      before = [lane, from];
      pending.push([outage.name, Math.max(GUTTER, left) + 4, Math.max(y, lane ? AXIS + SERVER : AXIS) + 3]);
    }
  });
}
const pending = [];

function outageNames(c) {
  c.font = "600 11px system-ui, sans-serif"; c.textAlign = "left"; c.textBaseline = "top";
  const taken = [];
  for (const [name, px, first] of pending.splice(0)) {
    const wide = c.measureText(name).width;
    // A name that would cover another goes below it, twice at most; then the shade, the pointer and the list have to tell.
    const y = [0, 14, 28].map(down => first + down).find(y => !taken.some(([tx, ty, tw]) => Math.abs(ty - y) < 14 && px < tx + tw + 6 && tx < px + wide + 6));
    if (y === undefined) continue;
    taken.push([px, y, wide]);
    c.globalAlpha = 0.85; c.fillStyle = colour.paper; c.fillRect(px - 2, y - 1, wide + 4, 14); c.globalAlpha = 1;
    c.fillStyle = colour.outage; c.fillText(name, px, y);
  }
}

function drawFrames(c, lane) {
  const list = byLane[lane], at = i => frames.at[i];
  const start = firstFrom(list, view.from - longest[lane] - 1, at), end = firstFrom(list, view.to + 1, at);
  if (ladder() && end - start < width) drawLadder(c, lane, list, start, end); else drawTicks(c, lane, list, start, end);
}

/** Marks up (from the device) and down (to it) from the middle; of each column of pixels only what matters most. */
function drawTicks(c, lane, list, start, end) {
  const columns = Math.ceil(width), best = [new Int8Array(columns).fill(-1), new Int8Array(columns).fill(-1)];
  for (let place = start; place < end; place++) {
    const i = list[place], px = Math.floor(x(frames.at[i]));
    if (px < GUTTER || px >= columns) continue;
    const half = best[frames.way[i]];
    if (half[px] < rank[i]) half[px] = rank[i];
  }
  const y = laneY(lane), pad = view.lane >= 30 ? 8 : view.lane >= 10 ? 2 : 0, half = view.lane / 2 - pad, middle = y + view.lane / 2 - (view.lane >= 30 ? 2 : 1);
  const wide = (end - start) > columns / 3 ? 1 : 1.6;
  for (let r = 0; r <= LOST; r++) {
    c.fillStyle = rankColour(r); c.globalAlpha = r === 0 ? 0.75 : 1;
    const tall = half * HEIGHT[r];
    for (let px = GUTTER; px < columns; px++) {
      if (best[0][px] === r) { c.fillRect(px, middle - tall, wide, tall); if (half > 12) mark(c, r, px + .8, middle - tall, 3); }
      if (best[1][px] === r) { c.fillRect(px, middle, wide, tall); if (half > 12) mark(c, r, px + .8, middle + tall, 3); }
    }
  }
  c.globalAlpha = 1;
  if (view.chosen >= 0 && frames.lane[view.chosen] === lane) {
    c.strokeStyle = colour.ink; c.lineWidth = 1.5; c.strokeRect(x(frames.at[view.chosen]) - 3, y + 1, 6, view.lane - 3);
  }
}

/** A cross for what was lost, a diamond for what noise damaged, nothing for the rest. */
function mark(c, r, px, y, size) {
  if (r < DAMAGED) return;
  c.strokeStyle = rankColour(r); c.lineWidth = 1.6; c.beginPath();
  if (r === DAMAGED) {
    c.fillStyle = colour.paper; c.moveTo(px - size, y); c.lineTo(px, y - size); c.lineTo(px + size, y); c.lineTo(px, y + size); c.closePath(); c.fill(); c.stroke();
    c.fillStyle = rankColour(r);
    return;
  }
  c.moveTo(px - size, y - size); c.lineTo(px + size, y + size); c.moveTo(px + size, y - size); c.lineTo(px - size, y + size); c.stroke();
}

/** Where a frame is drawn as the rung of a ladder: device above, server below. */
function rung(i) {
  const y = laneY(frames.lane[i]), rails = [y + 9, y + view.lane - 12], way = frames.way[i], after = frames.after[i];
  const x0 = x(frames.at[i]), gone = after < 0, x1 = gone ? x0 + Math.min(24, Math.max(4, (width - GUTTER) / (view.to - view.from) * 6)) : x(frames.at[i] + after);
  const y0 = rails[way], y1 = gone ? y0 + (rails[1 - way] - y0) * 0.55 : rails[1 - way];
  return [x0, y0, x1, y1];
}

/** How many other lines left the same end within the same pixel. */
function bunch(list, place, end) {
  const i = list[place];
  let more = 0;
  for (let next = place + 1; next < end && x(frames.at[list[next]]) - x(frames.at[i]) < 1; next++)
    if (frames.way[list[next]] === frames.way[i] && frames.kind[list[next]]) more++;
  return more;
}

function drawLadder(c, lane, list, start, end) {
  const y = laneY(lane);
  c.fillStyle = colour.soft; c.globalAlpha = 0.5;
  c.fillRect(GUTTER, y + 9, width, 1); c.fillRect(GUTTER, y + view.lane - 12, width, 1); c.globalAlpha = 1;
  c.font = "10px ui-monospace, Menlo, Consolas, monospace"; c.textAlign = "left"; c.textBaseline = "middle";
  const free = [-1e9, -1e9];
  for (let place = start; place < end; place++) {
    const i = list[place], [x0, y0, x1, y1] = rung(i), gone = frames.after[i] === -1, hit = rank[i] === DAMAGED;
    c.strokeStyle = rankColour(rank[i]); c.lineWidth = i === view.chosen ? 3.5 : frames.kind[i] === 0 ? 1 : 1.7;
    c.setLineDash(gone ? [4, 3] : []);
    c.beginPath(); c.moveTo(x0, y0);
    // A damaged line arrives with a kink in it.
    if (hit) { const mx = (x0 + x1) / 2, my = (y0 + y1) / 2, dy = (y1 - y0) * 0.06; c.lineTo(mx - 5, my - dy); c.lineTo(mx + 5, my - dy / 3); c.lineTo(mx - 5, my + dy / 3); c.lineTo(mx + 5, my + dy); }
    c.lineTo(x1, y1); c.stroke(); c.setLineDash([]);
    if (gone || hit) mark(c, rank[i], x1, y1, 4);
    else { c.fillStyle = rankColour(rank[i]); c.beginPath(); c.arc(x1, y1, 2.2, 0, 7); c.fill(); }
    const text = frames.texts[frames.text[i]];
    if (view.lane < 60 || text === "" || x1 < free[frames.way[i]]) continue;
    // The end of a text is hidden where the next label begins.
    const bare = text.replace(/ ?\.{4,}$/, "…"), more = bunch(list, place, end);
    const short = (bare.length > 15 ? bare.slice(0, 14) + "…" : bare) + (more ? ` +${more}` : ""), wide = c.measureText(short).width;
    const shift = (frames.way[i] ? 0.72 : 0.28) * (y1 - y0) * (frames.way[i] ? -1 : 1);
    const ly = frames.way[i] ? y0 + (y1 - y0) * 0.22 : y0 + Math.abs(shift) * 0.8, lx = x0 + (x1 - x0) * 0.25 + 5;
    if (lx < free[frames.way[i]]) continue;
    c.fillStyle = colour.paper; c.globalAlpha = 0.8; c.fillRect(lx - 1, ly - 6, wide + 2, 12); c.globalAlpha = 1;
    c.fillStyle = rankColour(rank[i]); c.fillText(short, lx, ly);
    free[frames.way[i]] = lx + wide + 6;
  }
}

/** The whole run, small: how much was written, what was lost, outages, and where the view is. */
function drawOverview() {
  const c = overview.getContext("2d"), tall = 44, scale = at => GUTTER + at / run.shownMs * (width - GUTTER);
  if (!small) {
    const columns = Math.max(1, Math.ceil(width)), all = new Uint32Array(columns), gone = new Uint32Array(columns), hit = new Uint32Array(columns);
    for (let i = 0; i < total; i++) { const px = Math.min(columns - 1, Math.floor(scale(frames.at[i]))); (frames.kind[i] || rank[i] >= DAMAGED) && all[px]++; if (rank[i] === LOST) gone[px]++; if (rank[i] === DAMAGED) hit[px]++; }
    small = { all, gone, hit, most: all.reduce((a, b) => Math.max(a, b), 1) };
  }
  c.fillStyle = colour.panel; c.fillRect(0, 0, width, tall);
  c.fillStyle = colour.outage; c.globalAlpha = 0.2;
  for (const outage of run.outages) {
    const seen = new Set();
    for (const [, from, to] of outage.spans) { if (seen.has(from)) continue; seen.add(from); c.fillRect(scale(from), 0, Math.max(2, scale(to) - scale(from)), tall); }
  }
  c.globalAlpha = 1;
  for (let px = GUTTER; px < small.all.length; px++) {
    const high = n => n ? 3 + (tall - 8) * Math.sqrt(n / small.most) : 0;
    c.fillStyle = colour.message; c.globalAlpha = 0.55; c.fillRect(px, tall - high(small.all[px]), 1, high(small.all[px])); c.globalAlpha = 1;
    c.fillStyle = colour.noise; c.fillRect(px, tall - high(small.hit[px]), 1, high(small.hit[px]));
    c.fillStyle = colour.lost; c.fillRect(px, tall - high(small.gone[px]), 1, high(small.gone[px]));
  }
  c.strokeStyle = colour.ink; c.lineWidth = 1.5;
  c.strokeRect(scale(view.from) + .5, 1, Math.max(3, scale(view.to) - scale(view.from) - 1), tall - 2);
  c.fillStyle = colour.soft; c.font = "11px system-ui, sans-serif"; c.textAlign = "right"; c.textBaseline = "middle";
  c.fillText("whole run", GUTTER - 10, tall / 2);
}
