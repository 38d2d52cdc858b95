// Runs once, with `element` (the page) and `server` (the functions of rate.py). An answer is shown as given only when the server has it on disk.
const $ = (selector) => element.querySelector(selector);
const page = $('.rate'), slider = $('#rating'), note = $('.note');
const ANCHORS = ['bad', 'poor', 'fair', 'good', 'excellent'];
const GONE = 'The program in the terminal does not answer. What was saved stays saved: start it again and reload this page.';
let busy = true, picture = null, timer = null;

ANCHORS.forEach((name, at) => {
  const button = document.createElement('button');
  button.type = 'button';
  button.tabIndex = -1;
  button.textContent = name;
  button.style.left = `${25 * at}%`;
  button.addEventListener('click', () => { set(at + 1); slider.focus(); });
  $('.anchors').append(button);
});

function set(value) {
  if (busy || !picture) return;
  slider.value = Math.min(5, Math.max(1, value));
  touched();
}

function touched() {
  slider.classList.remove('unset');
  note.textContent = '';
  marked();
}

function marked() {
  const value = Number(slider.value), unset = slider.classList.contains('unset');
  slider.style.setProperty('--filled', `${unset ? 0 : 25 * (value - 1)}%`);
  const near = ANCHORS[Math.round(value) - 1];
  slider.setAttribute('aria-valuetext', unset ? 'not set' : `${value.toFixed(2)}, near ${near}`);
  $('output').textContent = unset ? '' : value.toFixed(2);
  $('.save').setAttribute('aria-disabled', unset);
  [...$('.anchors').children].forEach((button, at) => button.classList.toggle('near', !unset && Math.abs(value - at - 1) < 0.5));
}

async function step(call, argument) {
  if (busy) return;
  busy = true;
  page.classList.add('busy');
  try {
    show(await call(argument));
  } catch (error) {
    note.textContent = GONE;
  }
  page.classList.remove('busy');
  busy = false;
}

// While waiting. What the person does meanwhile goes before.
async function look() {
  const mine = timer;
  const view = await server.view_now(null).catch(() => ({ error: GONE }));
  if (!busy && timer === mine) show(view);
}

function show(view) {
  clearTimeout(timer);
  note.textContent = view.error || '';
  if (view.error) return;
  page.dataset.stage = view.stage;
  const bar = $('.bar');
  bar.setAttribute('aria-valuenow', view.rated);
  bar.setAttribute('aria-valuemax', view.wanted);
  bar.firstElementChild.style.width = `${100 * view.rated / Math.max(1, view.wanted)}%`;
  $('.count').textContent = `${view.rated} of ${view.wanted} rated${view.skipped ? `, ${view.skipped} skipped` : ''}`;
  const count = (number) => number.toLocaleString('en');
  const read = view.encoded < view.files ? `${count(view.encoded)} of ${count(view.files)} pictures read` : `${count(view.files)} pictures`;
  $('.encoding').textContent = view.files > view.pool ? `${read}, in random order; asked about the first ${count(view.pool)}, all are ranked` : read;
  $('.wait .big').textContent = view.finished ? 'Your taste is saved. Reading the rest of your pictures, to rank them' : 'Looking at your pictures';
  $('.wait .actions').hidden = !view.finished;
  $('.wait .detail').textContent = `${count(view.encoded)} of ${count(view.files)}`;
  aside(view.set_aside);
  for (const undo of element.querySelectorAll('.undo')) undo.disabled = !(view.rated + view.skipped);
  for (const more of element.querySelectorAll('.more')) more.disabled = !view.left;
  picture = view.stage === 'ask' ? view.picture : null;
  if (view.stage === 'ask') {
    $('.picture').src = view.src;
    $('.picture').alt = `Picture to rate: ${view.name}`;
    $('.picture').title = view.name;
    slider.value = 3;
    slider.classList.add('unset');
    marked();
    slider.focus({ preventScroll: true });
  } else if (view.stage === 'rank') {
    $('.rank .detail').textContent = `The profile is in ${view.out}. To rank pictures with it, now or later:`;
    $('.command').textContent = view.command;
    $('iframe').srcdoc = view.sheet;
  }
  if (view.stage === 'wait') timer = setTimeout(look, 500);
}

function aside(reasons) {
  $('.aside').hidden = !reasons.length;
  $('.aside summary').textContent = `${reasons.length} ${reasons.length === 1 ? 'picture' : 'pictures'} set aside`;
  $('.aside ul').replaceChildren(...reasons.map((reason) => {
    const item = document.createElement('li');
    item.textContent = reason;
    return item;
  }));
}

function save() {
  if (slider.classList.contains('unset')) note.textContent = 'Set the slider first: keys 1 to 5, or drag it.';
  else step(server.give_answer, { picture, rating: Number(slider.value) });
}

const skip = () => step(server.give_answer, { picture, rating: null });
const undo = () => step(server.take_back, null);

slider.addEventListener('input', touched);
// A click on the very middle, where the hidden handle stands, is an answer, too.
slider.addEventListener('pointerup', touched);
$('.save').addEventListener('click', save);
$('.skip').addEventListener('click', skip);
for (const more of element.querySelectorAll('.more')) more.addEventListener('click', () => step(server.ask_more, null));
for (const button of element.querySelectorAll('.undo')) button.addEventListener('click', undo);

function fit() {
  const sheet = $('iframe');
  sheet.style.height = '0';
  sheet.style.height = `${sheet.contentDocument.documentElement.scrollHeight}px`;
}
$('iframe').addEventListener('load', fit);
window.addEventListener('resize', fit);

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const onButton = event.target.matches?.('button, summary');
  const back = event.key === 'Backspace' || event.key.toLowerCase() === 'u';
  const value = slider.classList.contains('unset') ? 3 : Number(slider.value);
  const small = event.shiftKey ? 0.5 : 0.1;
  if (page.dataset.stage === 'ask') {
    if (/^[1-5]$/.test(event.key)) set(Number(event.key));
    else if (event.key === 'ArrowLeft' || event.key === 'ArrowDown') set(value - small);
    else if (event.key === 'ArrowRight' || event.key === 'ArrowUp') set(value + small);
    else if (event.key === 'Enter' && !onButton) { if (!event.repeat) save(); }
    else if (event.key.toLowerCase() === 's') { if (!event.repeat) skip(); }
    else if (back) { if (!event.repeat) undo(); }
    else return;
  } else if (page.dataset.stage !== 'load' && back) undo();
  else return;
  event.preventDefault();
});

busy = false;
step(server.view_now, null);
