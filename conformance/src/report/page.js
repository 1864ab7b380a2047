const find = document.getElementById('find'), state = document.getElementById('state'), shown = document.getElementById('shown');
const rows = [...document.querySelectorAll('details.req')].map(row => ({ row, text: row.textContent.toLowerCase() }));
function show() {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  const levels = [...document.querySelectorAll('input[name=level]:checked')].map(box => box.value);
  let count = 0;
  for (const { row, text } of rows) {
    const fits = levels.includes(row.dataset.level) && (!state.value || row.dataset.state === state.value)
      && words.every(word => text.includes(word));
    row.hidden = !fits;
    count += fits;
  }
  shown.textContent = count + ' of ' + rows.length;
}
document.getElementById('tools').addEventListener('input', show);
document.getElementById('tools').addEventListener('submit', event => event.preventDefault());
if (location.hash) { const row = document.getElementById(location.hash.slice(1)); if (row) row.open = true; }
show();
