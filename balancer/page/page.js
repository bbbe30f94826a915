// The page: a photo goes to POST /v1/images and comes back drawn; before and after lie over each other.
// Knows the public API only. What is said about progress is what is known: bytes sent, then seconds waited.

// @ts-check

/**
 * @typedef {{ id: string, title: string, thumbnail_url: string | null, default: boolean }} Style
 * @typedef {{ title: string, detail: string, code: string, retryMs: number | undefined, final: boolean, needsKey?: boolean }} Fault
 * @typedef {{ url: string, type: string, facts: string }} Drawn
 */

/** @template {HTMLElement} T @param {string} id @param {new () => T} type @returns {T} */
function byId(id, type) {
  const element = document.getElementById(id);
  if (element instanceof type) return element;
  throw new Error(`the page has no ${id}`);
}

const ui = {
  app: byId('app', HTMLFormElement),
  file: byId('file', HTMLInputElement),
  drop: byId('drop', HTMLLabelElement),
  frame: byId('frame', HTMLDivElement),
  compare: byId('compare', HTMLDivElement),
  before: byId('before', HTMLImageElement),
  after: byId('after', HTMLImageElement),
  unshown: byId('unshown', HTMLParagraphElement),
  slider: byId('slider', HTMLInputElement),
  handle: byId('handle', HTMLSpanElement),
  tagBefore: byId('tag-before', HTMLSpanElement),
  tagAfter: byId('tag-after', HTMLSpanElement),
  busy: byId('busy', HTMLDivElement),
  busyWhat: byId('busy-what', HTMLElement),
  busyAmount: byId('busy-amount', HTMLSpanElement),
  busyBar: byId('busy-bar', HTMLProgressElement),
  hold: byId('hold', HTMLDivElement),
  other: byId('other', HTMLButtonElement),
  cancel: byId('cancel', HTMLButtonElement),
  fault: byId('fault', HTMLDivElement),
  faultTitle: byId('fault-title', HTMLElement),
  faultDetail: byId('fault-detail', HTMLSpanElement),
  faultCode: byId('fault-code', HTMLSpanElement),
  keyRow: byId('key-row', HTMLLabelElement),
  key: byId('key', HTMLInputElement),
  again: byId('again', HTMLButtonElement),
  giveUp: byId('give-up', HTMLButtonElement),
  done: byId('done', HTMLDivElement),
  download: byId('download', HTMLAnchorElement),
  another: byId('another', HTMLButtonElement),
  facts: byId('facts', HTMLParagraphElement),
  status: byId('status', HTMLParagraphElement),
  cards: byId('cards', HTMLDivElement),
  stylesFault: byId('styles-fault', HTMLParagraphElement),
  stylesFaultText: byId('styles-fault-text', HTMLSpanElement),
  stylesAgain: byId('styles-again', HTMLButtonElement),
};

const UPLOAD_BYTES = Number(document.body.dataset.uploadBytes);
const UPLOAD_SIZE = document.body.dataset.uploadSize ?? '';
/** How often a busy server is asked again before the visitor has to. */
const MAX_RETRIES = 5;
/** How often the list of styles is asked for while there is none. */
const STYLES_RETRY_MS = 5000;

/** @type {{ file: File, url: string } | undefined} */
let photo;
/** What was drawn of this photo, by style and format. @type {Map<string, Drawn>} */
let drawings = new Map();
/** Ends what is going on: an exchange, or the wait before the next one. @type {(() => void) | undefined} */
let stop;
/** What the server cannot be asked to do again without a change. */
let blocked = false;

// -- A photo comes in

ui.app.addEventListener('submit', (event) => {
  event.preventDefault();
  // Enter in the field of the key.
  if (!ui.keyRow.hidden) ui.again.click();
});
ui.file.addEventListener('change', () => {
  take(ui.file.files?.[0]);
  // So that choosing the same file again counts as a choice.
  ui.file.value = '';
});
document.addEventListener('paste', (event) => {
  const file = event.clipboardData?.files[0];
  if (!file) return;
  event.preventDefault();
  take(file);
});
let dragDepth = 0;
document.addEventListener('dragenter', () => {
  dragDepth += 1;
  document.body.classList.add('dragging');
});
document.addEventListener('dragleave', () => {
  dragDepth = Math.max(0, dragDepth - 1);
  if (dragDepth === 0) document.body.classList.remove('dragging');
});
document.addEventListener('dragover', (event) => event.preventDefault());
document.addEventListener('drop', (event) => {
  event.preventDefault();
  dragDepth = 0;
  document.body.classList.remove('dragging');
  const files = event.dataTransfer?.files;
  if (files?.length) take(files[0]);
  else announce('That was not a file. Save the picture first, then drop the file.');
});

/** @param {File | undefined} file */
function take(file) {
  if (!file) return;
  stop?.();
  forget();
  photo = { file, url: URL.createObjectURL(file) };
  ui.drop.hidden = true;
  // Its place in the tab order goes to the buttons below the picture.
  ui.file.tabIndex = -1;
  ui.frame.hidden = false;
  ui.unshown.hidden = true;
  ui.before.hidden = false;
  ui.before.src = photo.url;
  const fault = refuse(file);
  blocked = fault !== undefined;
  if (fault) show({ kind: 'fault', fault, retryInMs: undefined });
  else draw();
}

ui.before.addEventListener('load', () => {
  ui.compare.style.setProperty('--ratio', String(ui.before.naturalWidth / ui.before.naturalHeight));
});
ui.before.addEventListener('error', () => {
  ui.compare.style.setProperty('--ratio', '3');
  ui.before.hidden = true;
  ui.unshown.hidden = false;
});

/** Lets go of the last photo and of all that was drawn of it. */
function forget() {
  if (photo) URL.revokeObjectURL(photo.url);
  for (const { url } of drawings.values()) URL.revokeObjectURL(url);
  drawings = new Map();
  photo = undefined;
  tick();
}

/** What can be said before a byte is sent. @param {File} file @returns {Fault | undefined} */
function refuse(file) {
  const no = { code: '', retryMs: undefined, final: true };
  if (file.size === 0) return { ...no, title: 'This file is empty.', detail: 'Please choose another one.' };
  if (file.size > UPLOAD_BYTES) {
    return {
      ...no,
      title: 'This file is too large to send.',
      detail: `It has ${megabytes(file.size)}; at most ${UPLOAD_SIZE} can be sent. A smaller copy will look just as good.`,
    };
  }
  if (file.type && !file.type.startsWith('image/')) {
    return { ...no, title: 'This is not a picture.', detail: `"${file.name}" is no JPEG, PNG or WebP file.` };
  }
  return undefined;
}

// -- Drawing

/** @param {number} [attempt] */
function draw(attempt = 1) {
  const style = chosen('style');
  const format = chosen('format') ?? 'jpeg';
  if (!photo || blocked) return;
  if (!style) {
    show({ kind: 'hold' });
    return;
  }
  stop?.();
  const known = drawings.get(`${style} ${format}`);
  if (known) {
    show({ kind: 'drawn', drawn: known });
    return;
  }
  const { file } = photo;
  const exchange = send(file, style, format, {
    sent: (share) => show({ kind: 'sending', share }),
    waiting: (ms) => show({ kind: 'waiting', ms }),
    done(drawn) {
      stop = undefined;
      drawings.set(`${style} ${format}`, drawn);
      tick();
      show({ kind: 'drawn', drawn });
      announce('The picture is drawn.');
    },
    failed(fault) {
      stop = undefined;
      announce('');
      blocked = fault.final;
      if (fault.retryMs === undefined || attempt > MAX_RETRIES)
        show({ kind: 'fault', fault, retryInMs: undefined });
      else countDown(fault, fault.retryMs, () => draw(attempt + 1));
    },
  });
  announce('The photo is being sent.');
  stop = exchange;
}

/**
 * One exchange with the server; gives back how to end it.
 * XMLHttpRequest, since fetch does not tell how much was sent.
 * @param {File} file @param {string} style @param {string} format
 * @param {{ sent: (share: number) => void, waiting: (ms: number) => void, done: (drawn: Drawn) => void, failed: (fault: Fault) => void }} tell
 */
function send(file, style, format, tell) {
  const request = new XMLHttpRequest();
  const started = performance.now();
  let uploaded = 0;
  // What was ended tells nothing any more, even if its answer is in the house already.
  let ended = false;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let clock;
  request.open('POST', `/v1/images?${new URLSearchParams({ style, format })}`);
  request.responseType = 'blob';
  request.upload.addEventListener('progress', (event) => {
    if (event.lengthComputable && !clock) tell.sent(event.loaded / event.total);
  });
  request.upload.addEventListener('load', () => {
    uploaded = performance.now();
    tell.waiting(0);
    clock = setInterval(() => tell.waiting(performance.now() - uploaded), 100);
  });
  request.addEventListener('loadend', () => clearInterval(clock));
  request.addEventListener('load', async () => {
    /** @type {Blob} */
    const body = request.response;
    if (ended) return;
    if (request.status === 200 && body.type.startsWith('image/')) {
      tell.done({
        url: URL.createObjectURL(body),
        type: body.type,
        facts: factsOf(request, performance.now() - started),
      });
    } else {
      const fault = await faultOf(request.status, request.getResponseHeader('retry-after'), body);
      if (!ended) tell.failed(fault);
    }
  });
  request.addEventListener('error', () =>
    tell.failed({
      title: 'The server cannot be reached.',
      detail: 'The connection was refused or lost. Your photo is still here.',
      code: '',
      retryMs: undefined,
      final: false,
    }),
  );
  tell.sent(0);
  const key = ui.key.value.trim();
  if (/^[\x21-\x7e]+$/.test(key)) request.setRequestHeader('x-api-key', key);
  const form = new FormData();
  form.append('image', file);
  request.send(form);
  return () => {
    ended = true;
    clearInterval(clock);
    request.abort();
  };
}

/** @param {number} status @param {string | null} retryAfter @param {Blob} body @returns {Promise<Fault>} */
async function faultOf(status, retryAfter, body) {
  /** @type {Record<string, unknown>} */
  let problem = {};
  try {
    problem = JSON.parse(await body.text());
  } catch {
    // Whatever stands between us and the server may answer without JSON; the status is then all that is known.
  }
  const text = (/** @type {unknown} */ value) => (typeof value === 'string' ? value : '');
  const title = text(problem.title) || `The server answered with status ${status}.`;
  const seconds = Number(retryAfter);
  return {
    title,
    // What the server says is for programs, which send a key in a header.
    detail:
      status === 401 && ui.key.value.trim() === ''
        ? 'Please type the API key that you were given.'
        : text(problem.detail) === title
          ? ''
          : text(problem.detail),
    code: [text(problem.code), text(problem.request_id) && `request ${text(problem.request_id)}`]
      .filter(Boolean)
      .join(' · '),
    retryMs:
      [429, 503].includes(status) && retryAfter !== null && seconds >= 0
        ? Math.max(1, seconds) * 1000
        : undefined,
    final: [413, 415, 422].includes(status),
    needsKey: status === 401,
  };
}

/** @param {Fault} fault @param {number} ms @param {() => void} then */
function countDown(fault, ms, then) {
  const until = performance.now() + ms;
  const beat = () => {
    const left = until - performance.now();
    if (left <= 0) {
      stop?.();
      then();
    } else show({ kind: 'fault', fault, retryInMs: left });
  };
  const clock = setInterval(beat, 250);
  stop = () => {
    clearInterval(clock);
    stop = undefined;
  };
  beat();
}

/** What is told about a drawn picture: true figures of the server, if it gives them. @param {XMLHttpRequest} request @param {number} ms */
function factsOf(request, ms) {
  const stages = new Map(
    (request.getResponseHeader('server-timing') ?? '').split(',').map((part) => {
      const [name = '', duration = ''] = part.split(';');
      return [name.trim(), Number(duration.replace(/^\s*dur=/, ''))];
    }),
  );
  const infer = stages.get('infer');
  const queue = stages.get('queue');
  return [
    `${seconds(ms)} in all`,
    queue !== undefined && queue >= 100 ? `${seconds(queue)} in the queue` : '',
    infer ? `${seconds(infer)} drawing` : '',
  ]
    .filter(Boolean)
    .join(', ');
}

ui.cancel.addEventListener('click', () => {
  stop?.();
  stop = undefined;
  show({
    kind: 'fault',
    fault: { title: 'Cancelled.', detail: '', code: '', retryMs: undefined, final: false },
    retryInMs: undefined,
  });
  ui.again.focus();
});
ui.giveUp.addEventListener('click', () => {
  stop?.();
  stop = undefined;
  ui.giveUp.hidden = true;
  ui.again.textContent = 'Try again';
  ui.again.focus();
});
for (const button of [ui.another, ui.other]) button.addEventListener('click', () => ui.file.click());
ui.again.addEventListener('click', () => {
  stop?.();
  if (blocked) ui.file.click();
  else draw();
});

// -- Showing

/**
 * The one place that decides what is to be seen.
 * @param {{ kind: 'hold' } | { kind: 'sending', share: number } | { kind: 'waiting', ms: number }
 *   | { kind: 'drawn', drawn: Drawn } | { kind: 'fault', fault: Fault, retryInMs: number | undefined }} state
 */
function show(state) {
  const busy = state.kind === 'sending' || state.kind === 'waiting';
  ui.busy.hidden = !busy;
  ui.hold.hidden = state.kind !== 'hold';
  ui.frame.classList.toggle('waiting', busy || state.kind === 'hold');
  ui.fault.hidden = state.kind !== 'fault';
  ui.done.hidden = state.kind !== 'drawn';
  for (const part of [ui.after, ui.slider, ui.handle, ui.tagBefore, ui.tagAfter])
    part.hidden = state.kind !== 'drawn';
  switch (state.kind) {
    case 'hold':
      return;
    case 'sending':
      ui.busyWhat.textContent = 'Sending the photo';
      ui.busyAmount.textContent = `${Math.floor(state.share * 100)} %`;
      ui.busyBar.hidden = false;
      ui.busyBar.value = state.share * 100;
      return;
    case 'waiting':
      ui.busyWhat.textContent = 'Waiting for the picture';
      ui.busyAmount.textContent = seconds(state.ms);
      ui.busyBar.hidden = true;
      return;
    case 'drawn':
      showDrawn(state.drawn);
      return;
    case 'fault':
      showFault(state.fault, state.retryInMs);
      return;
  }
}

/** @param {Drawn} drawn */
function showDrawn(drawn) {
  const style = chosen('style') ?? '';
  ui.after.src = drawn.url;
  ui.after.alt = `Drawn in the style ${style}`;
  ui.facts.textContent = drawn.facts;
  ui.download.href = drawn.url;
  const ending = drawn.type === 'image/jpeg' ? 'jpg' : drawn.type.slice('image/'.length);
  ui.download.download = `${photo?.file.name.replace(/\.[^.]*$/, '') || 'photo'}-${style}.${ending}`;
  // A photo that this browser cannot show leaves the picture alone.
  split(ui.before.hidden ? 0 : Number(ui.slider.value));
  for (const part of [ui.slider, ui.handle, ui.tagBefore, ui.tagAfter]) part.hidden = ui.before.hidden;
  ui.unshown.hidden = true;
}

ui.after.addEventListener('load', () => {
  if (ui.before.hidden)
    ui.compare.style.setProperty('--ratio', String(ui.after.naturalWidth / ui.after.naturalHeight));
});

/** @param {Fault} fault @param {number | undefined} retryInMs */
function showFault(fault, retryInMs) {
  const whole = retryInMs === undefined ? undefined : Math.ceil(retryInMs / 1000);
  setText(ui.faultTitle, fault.title);
  setText(ui.faultDetail, fault.detail);
  setText(ui.faultCode, fault.code);
  const asksForKey = fault.needsKey === true;
  if (asksForKey && ui.keyRow.hidden) setTimeout(() => ui.key.focus());
  ui.keyRow.hidden = !asksForKey;
  setText(
    ui.again,
    whole === undefined ? (fault.final ? 'Choose another photo' : 'Try again') : `Trying again in ${whole} s`,
  );
  ui.giveUp.hidden = whole === undefined;
}

/** Leaves alone what is right already, so that a screen reader is not told the same thing again. @param {HTMLElement} element @param {string} text */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

ui.slider.addEventListener('input', () => split(Number(ui.slider.value)));

/** @param {number} percent how much of the width still shows the photo */
function split(percent) {
  ui.compare.style.setProperty('--split', `${percent}%`);
  ui.slider.setAttribute('aria-valuetext', `${percent} % photo, ${100 - percent} % drawn`);
}

// -- Styles

async function loadStyles() {
  ui.cards.setAttribute('aria-busy', 'true');
  /** @type {Style[]} */
  let styles = [];
  let fault = 'The server cannot be reached.';
  try {
    const response = await fetch('/v1/styles');
    if (response.ok) styles = (await response.json()).styles;
    else fault = (await faultOf(response.status, null, await response.blob())).title;
  } catch {
    // Said below.
  }
  ui.stylesFault.hidden = styles.length > 0;
  ui.cards.hidden = styles.length === 0;
  if (styles.length === 0) {
    setText(ui.stylesFaultText, `No styles yet. ${fault} This page asks again every few seconds.`);
    stylesTimer = setTimeout(loadStyles, STYLES_RETRY_MS);
    return;
  }
  ui.cards.setAttribute('aria-busy', 'false');
  ui.cards.replaceChildren(...styles.map(card));
  if (!chosen('style')) ui.cards.querySelector('input')?.click();
  else if (ui.fault.hidden && ui.done.hidden) draw();
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let stylesTimer;
ui.stylesAgain.addEventListener('click', () => {
  clearTimeout(stylesTimer);
  void loadStyles();
});

/** @param {Style} style */
function card(style) {
  const label = document.createElement('label');
  label.className = 'card';
  const input = document.createElement('input');
  input.type = 'radio';
  input.name = 'style';
  input.value = style.id;
  input.className = 'unseen';
  input.checked = style.default;
  const name = document.createElement('span');
  name.className = 'name';
  name.append(style.title, tickSign());
  label.append(input, thumbnail(style), name);
  return label;
}

/** @param {Style} style */
function thumbnail({ title, thumbnail_url }) {
  const letter = document.createElement('span');
  letter.className = 'thumb';
  letter.textContent = title.slice(0, 1);
  letter.setAttribute('aria-hidden', 'true');
  if (!thumbnail_url) return letter;
  const image = document.createElement('img');
  image.className = 'thumb';
  image.alt = '';
  image.src = thumbnail_url;
  image.addEventListener('error', () => image.replaceWith(letter));
  return image;
}

function tickSign() {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'tick');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', 'm5 13 5 5L20 7');
  svg.append(path);
  return svg;
}

/** Marks the styles that are drawn already, which come back at once. */
function tick() {
  const drawn = new Set([...drawings.keys()].map((key) => key.split(' ')[0]));
  for (const input of ui.cards.querySelectorAll('input')) {
    input.closest('.card')?.classList.toggle('drawn', drawn.has(input.value));
  }
}

ui.app.addEventListener('change', (event) => {
  if (event.target instanceof HTMLInputElement && ['style', 'format'].includes(event.target.name)) draw();
});

// -- Small things

/** @param {'style' | 'format'} name */
function chosen(name) {
  const value = new FormData(ui.app).get(name);
  return typeof value === 'string' ? value : undefined;
}

/** @param {string} text */
function announce(text) {
  ui.status.textContent = text;
}

/** @param {number} ms */
const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

/** @param {number} bytes */
const megabytes = (bytes) => `${(bytes / 1024 ** 2).toFixed(1)} MiB`;

void loadStyles();
