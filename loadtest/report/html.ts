// The report as one HTML file that needs nothing else: no network, no fonts, no libraries. Pure: gives the text.

import type { Run, Step } from '../result.ts';
import { type Band, type Bar, htmlText, lineChart, type Mark, stackedBars } from './charts.ts';
import type { Difference } from './compare.ts';
import { SCRIPT, STYLE } from './page.ts';
import { sloWords } from './table.ts';
import { duration, fleetWords, percent, qps, verdictWords } from './words.ts';

const WIDE = 1040;
const HALF = 512;

/** The page of a run. */
export function htmlReport(run: Run, differences: readonly Difference[] | undefined): string {
  const title = `toonfleet ${run.plan}: ${run.sentence}`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark"><title>${htmlText(title)}</title><style>${STYLE}</style></head>
<body><main>
${header(run)}
${tiles(run)}
${notes(run)}
<section class="grid">${againstLoad(run)}</section>
<section>${overTime(run)}</section>
<section>${whereTimeGoes(run.steps)}</section>
<section><h2>Steps</h2><div class="scroll">${stepTable(run.steps)}</div></section>
${differences ? `<section><h2>Against the baseline</h2>${comparison(differences)}</section>` : ''}
<section><h2>How this was measured</h2>${conditions(run)}</section>
</main><script>${SCRIPT}</script></body></html>
`;
}

const TONES = {
  met: 'good',
  'not met': 'bad',
  invalid: 'warn',
  aborted: 'bad',
  interrupted: 'warn',
} as const;

function header(run: Run): string {
  return `<header><p class="kicker">toonfleet load test · plan <b>${htmlText(run.plan)}</b> · ${htmlText(run.started_at.slice(0, 16).replace('T', ' '))} UTC</p>
<h1><span class="badge ${TONES[run.verdict]}">${htmlText(run.verdict)}</span> ${htmlText(run.sentence)}</h1>
<p class="sub">${htmlText(sloWords(run.slo))} · ${htmlText(fleetWords(run))}</p></header>`;
}

function notes(run: Run): string {
  const virtual =
    'The workers of this run were <b>virtual</b>: they slept instead of drawing. It shows balancer, queue and generator, not how fast pictures are drawn.';
  const all = [
    ...(run.fleet.virtual ? [virtual] : []),
    ...run.warnings.map((warning) => htmlText(`${warning}.`)),
  ];
  return all.length === 0 ? '' : `<div class="callout">${all.map((note) => `<p>${note}</p>`).join('')}</div>`;
}

/** The figures that decide, large. */
function tiles(run: Run): string {
  const shown = decisive(run);
  const items: [label: string, value: string, note: string][] = [];
  if (run.ceiling_qps !== null) {
    const above =
      run.ceiling_above_qps === null
        ? 'nothing above was tried'
        : `${qps(run.ceiling_above_qps)}/s is too much`;
    items.push(['ceiling', `${qps(run.ceiling_qps)}<small>/s</small>`, above]);
  }
  if (shown) {
    items.push(['P95', duration(shown.latency_ms?.p95), `at ${shown.label}`]);
    items.push([
      'back',
      `${qps(shown.achieved_qps)}<small>/s</small>`,
      shown.offered_qps === null ? `${shown.users} users` : `of ${qps(shown.offered_qps)}/s offered`,
    ]);
    items.push(['errors', percent(shown.error_rate), `${shown.requests - shown.ok} of ${shown.requests}`]);
    items.push(['CPU', percent(shown.cpu), shown.cpu === null ? 'not measured' : 'busiest node, mean']);
  }
  return `<div class="tiles">${items.map(([label, value, note]) => `<div><span>${htmlText(label)}</span><strong>${value}</strong><em>${htmlText(note)}</em></div>`).join('')}</div>`;
}

/** The step that a reader wants to see first: the confirmation, the best that was met, or the last. */
function decisive({ steps }: Run): Step | undefined {
  const met = steps.filter(({ verdict }) => verdict === 'met');
  const best = [...met].sort((a, b) => a.achieved_qps - b.achieved_qps).at(-1);
  return met.findLast(({ purpose }) => purpose === 'confirm') ?? best ?? steps.at(-1);
}

/** Latency and throughput against the load: the knee. */
function againstLoad(run: Run): string {
  const valid = run.steps.filter(({ verdict }) => verdict !== 'invalid');
  const closed = valid.filter(({ model }) => model === 'closed');
  const open = valid.filter(
    ({ model, purpose }) => model === 'open' && purpose !== 'spike' && purpose !== 'recover',
  );
  const steps = closed.length >= 2 ? closed : open;
  if (steps.length < 2) return '';
  const load = (step: Step) => step.users ?? step.offered_qps ?? 0;
  const sorted = [...steps].sort((a, b) => load(a) - load(b));
  const x =
    closed.length >= 2
      ? { label: 'users', unit: 'users' }
      : { label: 'offered pictures a second', unit: '/s' };
  const line = (name: string, tone: string, value: (step: Step) => number | null) => ({
    name,
    tone,
    dots: true,
    points: sorted.map((step) => [load(step), value(step)] as const),
  });
  const ceiling =
    run.ceiling_qps === null || closed.length >= 2
      ? []
      : [
          {
            at: run.ceiling_qps,
            axis: 'x' as const,
            label: `ceiling ${qps(run.ceiling_qps)}/s`,
            tone: 'limit-good',
          },
        ];
  return [
    lineChart({
      title: 'Latency against load',
      note: 'seconds; pictures that came back, from the moment each was due',
      width: HALF,
      height: 290,
      x,
      y: { label: 'latency', unit: 's' },
      series: [
        line('P50', 'p50', ({ latency_ms }) => seconds(latency_ms?.p50)),
        line('P95', 'p95', ({ latency_ms }) => seconds(latency_ms?.p95)),
        line('P99', 'p99', ({ latency_ms }) => seconds(latency_ms?.p99)),
      ],
      marks: [...p95Mark(run.slo.p95_ms, steps), ...ceiling],
    }),
    lineChart({
      title: 'Pictures back against load',
      note: closed.length >= 2 ? 'a second' : 'a second; the straight line is all that were asked for',
      width: HALF,
      height: 290,
      x,
      y: { label: 'pictures a second', unit: '/s' },
      series: [
        ...(closed.length >= 2
          ? []
          : [
              {
                name: 'offered',
                tone: 'ideal',
                points: sorted.map((step) => [load(step), load(step)] as const),
              },
            ]),
        line('back', 'ok', ({ achieved_qps }) => achieved_qps),
      ],
      marks: ceiling,
    }),
  ].join('\n');
}

/** The run second by second. */
function overTime(run: Run): string {
  const steps = run.steps.filter(({ over_time }) => over_time.length > 1);
  if (steps.length === 0) return '';
  const bands: Band[] = steps.map((step, index) => ({
    from: step.started_s,
    to: step.started_s + step.seconds,
    label: step.purpose === 'step' ? `${step.users}` : step.label,
    tone:
      step.verdict === 'not met' || step.verdict === 'invalid'
        ? 'band-bad'
        : index % 2 === 0
          ? 'band-a'
          : 'band-b',
  }));
  // A null between steps breaks the lines there; the last second of a step is never a whole one.
  const points = (value: (second: Step['over_time'][number]) => number | null) =>
    steps.flatMap((step) => [
      ...step.over_time.slice(0, -1).map((second) => [second.t, value(second)] as const),
      [step.over_time.at(-1)?.t ?? 0, null] as const,
    ]);
  const known = (value: (second: Step['over_time'][number]) => number | null) =>
    steps.some(({ over_time }) => over_time.some((second) => value(second) !== null));
  const x = {
    label: 'seconds of the run; shaded: the steps, red where the service level was not met',
    unit: 's',
  };
  const common = { width: WIDE, x, bands };
  const charts = [
    lineChart({
      ...common,
      height: 260,
      title: 'Latency over time',
      note: 'seconds; of the pictures that came back in each second',
      y: { label: 'latency', unit: 's' },
      series: [
        { name: 'P50', tone: 'p50', points: points(({ p50 }) => seconds(p50)) },
        { name: 'P95', tone: 'p95', points: points(({ p95 }) => seconds(p95)) },
        { name: 'P99', tone: 'p99', points: points(({ p99 }) => seconds(p99)) },
      ],
      marks: p95Mark(run.slo.p95_ms, steps),
    }),
    lineChart({
      ...common,
      height: 220,
      title: 'Requests over time',
      note: 'a second, by how they ended',
      y: { label: 'requests a second', unit: '/s' },
      series: [
        { name: 'sent', tone: 'ideal', points: points(({ sent }) => sent) },
        { name: 'pictures', tone: 'ok', filled: true, points: points(({ ok }) => ok) },
        ...(known(({ shed }) => shed || null)
          ? [{ name: 'shed (503)', tone: 'shed', points: points(({ shed }) => shed) }]
          : []),
        ...(known(({ failed }) => failed || null)
          ? [{ name: 'failed', tone: 'failed', points: points(({ failed }) => failed) }]
          : []),
      ],
    }),
    lineChart({
      ...common,
      height: 200,
      title: 'Without an answer',
      note: known(({ queue_length }) => queue_length)
        ? 'requests in flight, and those of them in the balancer’s queue'
        : 'requests in flight',
      y: { label: 'requests', unit: '' },
      series: [
        { name: 'in flight', tone: 'p95', filled: true, points: points(({ in_flight }) => in_flight) },
        ...(known(({ queue_length }) => queue_length)
          ? [{ name: 'in the queue', tone: 'shed', points: points(({ queue_length }) => queue_length) }]
          : []),
      ],
    }),
  ];
  if (known(({ cpu }) => cpu)) {
    const cpuLimit = run.slo.max_cpu;
    charts.push(
      lineChart({
        ...common,
        height: 190,
        title: 'CPU',
        note: 'the busiest node',
        y: { label: 'CPU', unit: '%', max: 1, percent: true },
        series: [{ name: 'CPU', tone: 'cpu', filled: true, points: points(({ cpu }) => cpu) }],
        marks:
          cpuLimit === null
            ? []
            : [{ at: cpuLimit, axis: 'y', label: `limit ${percent(cpuLimit)}`, tone: 'limit-bad' }],
      }),
    );
  }
  if (known(({ worker_memory_mb }) => worker_memory_mb)) {
    charts.push(
      lineChart({
        ...common,
        height: 190,
        title: 'Memory',
        note: 'MB of the largest worker',
        y: { label: 'MB', unit: 'MB' },
        series: [
          { name: 'memory', tone: 'memory', points: points(({ worker_memory_mb }) => worker_memory_mb) },
        ],
        marks: memoryMark(run),
      }),
    );
  }
  return charts.join('\n');
}

const STAGES = [
  ['upload', 'stage-upload'],
  ['queue', 'stage-queue'],
  ['decode', 'stage-decode'],
  ['infer', 'stage-infer'],
  ['encode', 'stage-encode'],
] as const;

function whereTimeGoes(steps: readonly Step[]): string {
  const bars: Bar[] = steps
    .filter(({ stages_ms }) => Object.keys(stages_ms).length > 0)
    .map((step) => {
      const parts = STAGES.map(([name, tone]) => ({ name, tone, value: step.stages_ms[name] ?? 0 }));
      const told = parts.reduce((sum, { value }) => sum + value, 0);
      const rest = Math.max(0, (step.latency_ms?.mean ?? told) - told);
      return {
        label: step.label,
        parts: [...parts, { name: 'the rest (network, forwarding)', tone: 'stage-rest', value: rest }],
      };
    });
  return stackedBars('Where the time goes', 'mean ms a picture, by Server-Timing', bars, 'ms');
}

function stepTable(steps: readonly Step[]): string {
  const head = [
    '',
    'offered',
    'QPS',
    'mean',
    'P50',
    'P95',
    'P99',
    'errors',
    'shed',
    'CPU',
    'memory',
    'late',
    'verdict',
  ];
  const rows = steps.map((step) => {
    const { latency_ms: latency } = step;
    const cells = [
      step.purpose === 'step' ? step.label : `${step.purpose} ${step.label}`,
      step.users === null ? `${qps(step.offered_qps)}/s` : `${step.users} users`,
      qps(step.achieved_qps),
      duration(latency?.mean),
      duration(latency?.p50),
      duration(latency?.p95),
      duration(latency?.p99),
      percent(step.error_rate),
      String(step.shed),
      percent(step.cpu),
      step.worker_memory_mb === null ? '–' : `${step.worker_memory_mb.toFixed(0)} MB`,
      duration(step.generator.late_p99_ms),
    ];
    const tone =
      step.verdict === 'met'
        ? 'good'
        : step.verdict === 'not graded'
          ? ''
          : step.verdict === 'invalid'
            ? 'warn'
            : 'bad';
    return `<tr>${cells.map((cell, index) => (index === 0 ? `<th scope="row">${htmlText(cell)}</th>` : `<td>${htmlText(cell)}</td>`)).join('')}<td class="verdict ${tone}" title="${htmlText(step.why)}">${htmlText(verdictWords(step) || 'shown only')}</td></tr>`;
  });
  return `<table><thead><tr>${head.map((cell) => `<th scope="col">${htmlText(cell)}</th>`).join('')}</tr></thead><tbody>${rows.join('')}</tbody></table>`;
}

function comparison(differences: readonly Difference[]): string {
  if (differences.length === 0) return '<p>The baseline and this run have nothing in common to compare.</p>';
  const tone = { better: 'good', worse: 'bad', 'the same within noise': '' } as const;
  const rows = differences.map(
    ({ what, before, now, change, noise, verdict }) =>
      `<tr><th scope="row">${htmlText(what)}</th><td>${htmlText(before)}</td><td>${htmlText(now)}</td><td>${change >= 0 ? '+' : ''}${(change * 100).toFixed(1)} %</td><td>±${(noise * 100).toFixed(1)} %</td><td class="verdict ${tone[verdict]}">${htmlText(verdict)}</td></tr>`,
  );
  return `<div class="scroll"><table><thead><tr><th></th><th>before</th><th>now</th><th>change</th><th>noise</th><th>verdict</th></tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
}

function conditions(run: Run): string {
  const { machine, photos } = run;
  const rows: [string, string][] = [
    [
      'machine of the generator',
      `${machine.cpu}, ${machine.cores} cores, ${machine.memory_gb} GB, ${machine.os}`,
    ],
    [
      'versions',
      `toonfleet ${run.version}${run.commit === null ? '' : ` (commit ${run.commit})`}, Node ${machine.node}`,
    ],
    [
      'fleet under test',
      `${fleetWords(run)}; ${run.url}${run.fleet.nodes.length > 0 ? `; nodes ${run.fleet.nodes.join(', ')}` : ''}`,
    ],
    ['models', run.fleet.models.join(', ') || 'not told'],
    [
      'photos',
      `${photos.count}, ${photos.mean_kb.toFixed(0)} KB and ${photos.mean_megapixels.toFixed(2)} megapixels on average (${photos.sizes.join(', ')}), each sent with bytes of its own`,
    ],
    ['styles', run.styles.join(', ') || 'the default'],
    [
      'answers looked into',
      `${run.steps.reduce((sum, { checked }) => sum + checked, 0)} of ${run.steps.reduce((sum, { ok }) => sum + ok, 0)} decoded and compared`,
    ],
    [
      'generator',
      `p99 of its starts at most ${duration(Math.max(0, ...run.steps.map(({ generator }) => generator.late_p99_ms)))} late; event loop at most ${duration(Math.max(0, ...run.steps.map(({ generator }) => generator.loop_lag_p99_ms)))} at p99; at most ${percent(Math.max(0, ...run.steps.map(({ generator }) => generator.cpu)))} of a core; ${run.priority} priority`,
    ],
    ['seed', String(run.seed)],
    ['taken', `${run.started_at}, ${run.seconds.toFixed(0)} s, exit code ${run.exit_code}`],
  ];
  return `<pre><code>${htmlText(run.command)}</code></pre><dl>${rows.map(([term, text]) => `<dt>${htmlText(term)}</dt><dd>${htmlText(text)}</dd>`).join('')}</dl>`;
}

/** The limit of a worker's memory, where the drawing comes near it. */
function memoryMark({ slo, steps }: Run): Mark[] {
  const limit = slo.max_worker_memory_mb;
  const highest = Math.max(0, ...steps.map(({ worker_memory_mb }) => worker_memory_mb ?? 0));
  if (limit === null || highest < limit / 2) return [];
  return [{ at: limit, axis: 'y', label: `limit ${limit.toFixed(0)} MB`, tone: 'limit-bad' }];
}

/** The limit of the P95, unless all that is drawn lies so far below it that it would press the drawing flat. */
function p95Mark(limitMs: number | null, steps: readonly Step[]): Mark[] {
  const highest = Math.max(0, ...steps.map(({ latency_ms }) => latency_ms?.p99 ?? 0));
  if (limitMs === null || highest < limitMs / 5) return [];
  return [{ at: limitMs / 1000, axis: 'y', label: `P95 limit ${duration(limitMs)}`, tone: 'limit-bad' }];
}

const seconds = (ms: number | null | undefined) => (ms === null || ms === undefined ? null : ms / 1000);
