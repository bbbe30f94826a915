// One inference worker: settings → models → app → listen → announce → ready → drain. No logic of its own.

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { schedule } from 'node-cron';
import type { WorkerReport } from '../config/contract.ts';
import type { LoadedSettings } from '../config/load.ts';
import { devicesOf } from '../ops/process/devices.ts';
import { type CloseStep, type Running, runProcess } from '../ops/process/lifecycle.ts';
import type { Log } from '../ops/process/log.ts';
import { workerMetrics } from '../ops/process/metrics.ts';
import { VERSION } from '../ops/process/package.ts';
import { createSite } from '../ops/process/site.ts';
import { type Announcer, startAnnouncer } from './announce.ts';
import { createApp } from './app.ts';
import { watchGolden } from './golden-watch.ts';
import { type Listening, listen, listenOnFirstFree } from './listen.ts';
import { ModelFault } from './model/entries/fault.ts';
import { chooseInstalled, computedOn, installedIn } from './model/entries/installed.ts';
import { type Inference, startInference } from './model/inference/session.ts';
import { Library } from './model/library.ts';
import { choicesOf } from './model/variants/choices.ts';
import { exactFolderOf } from './model/variants/exact-order.ts';
import type { WorkerParts } from './parts.ts';
import { createSpareMemory } from './pipeline/spare-memory.ts';
import { Readiness } from './readiness.ts';
import { tiredBy } from './rest.ts';
import { createFsStore } from './results/fs.ts';
import { Slot } from './slot.ts';
import { Speed } from './speed.ts';

/** How long a new worker waits to be seen before it says "ready". */
const SEEN_AT_START_MS = 5000;
/** How long a leaving worker waits for its leaving to be seen. */
const SEEN_AT_END_MS = 3000;

await runProcess('worker', start);

async function start(settings: LoadedSettings, log: Log, leave: (reason: string) => void): Promise<Running> {
  const inference = startInference((reason) => {
    // Nothing can be drawn any more, and a new process is the clean way to a new ONNX Runtime.
    log.error({ error: reason }, 'the inference thread died; leaving');
    process.exit(1);
  }, deviceOf(settings));
  const slot = new Slot(settings.worker.queue_length);
  const speed = new Speed();
  const results = createFsStore(settings.node.name, settings.results);
  const lag = monitorEventLoopDelay({ resolution: 20 });
  lag.enable();
  let library: Library | undefined;
  let own: Listening | undefined;
  let announcer: Announcer | undefined;
  let serving = false;
  const readiness = new Readiness(({ state, detail }) => {
    log.info({ state, ...(detail ? { detail } : {}) }, 'state');
    announcer?.changed();
  });

  const tired = () => tiredBy({ pictures: slot.taken, rssBytes: process.memoryUsage.rss() }, settings.worker);
  const report = (): WorkerReport => ({
    id: `${settings.node.name}-${process.pid}`,
    pid: process.pid,
    url: `http://${reachable(settings.worker.host)}:${own?.port ?? 0}`,
    slots: 1,
    state: readiness.state,
    models: library?.models.map(({ name }) => name) ?? [],
    busy: slot.busy ? 1 : 0,
    ms_per_megapixel: speed.msPerMegapixel,
    rss_bytes: process.memoryUsage.rss(),
    event_loop_lag_ms: Math.max(0, lag.percentile(99) / 1e6 - 20),
    tired: tired() !== undefined,
  });
  const parts: WorkerParts = {
    settings,
    library: () => library,
    inference,
    memory: createSpareMemory(),
    readiness,
    slot,
    results,
    site: createSite({ version: VERSION, limits: settings.limits }),
    metrics: workerMetrics(),
    speed,
    report,
    log,
  };
  const app = createApp(parts).callback();

  // The own port first: it tells why a worker is not ready. The shared one only when there is something to serve.
  const { host, port_first: first, port_last: last, shared_port: sharedPort } = settings.worker;
  own = await listenOnFirstFree(app, { host, first, last });
  announcer = startAnnouncer({
    agent: agentOf(settings),
    key: settings.node.key,
    report,
    onMayRest: () => serving && leave(`has worked enough: ${tired()}`),
  });
  log.info({ port: own.port }, 'loading models');

  const loading = loadLibrary(settings, inference, speed, log);
  try {
    library = await loading;
  } catch (error) {
    if (!(error instanceof ModelFault)) throw error;
    log.error({ error }, error.message);
    readiness.happened({ kind: 'fault', detail: error.message });
    // Not ready, and it stays so until an operator has seen to the models; a restart would find the same fault.
    return await new Promise<never>(() => {});
  }
  const shared = await listenShared(app, host, sharedPort);
  const stopGolden = watchGolden({ library, readiness, slot, log });
  const purging = schedule(
    '*/10 * * * *',
    () =>
      void results.purge().catch((error: unknown) => {
        log.warn({ error }, 'stored results could not be purged');
      }),
  );
  readiness.happened({ kind: 'proven' });
  log.info(
    { port: own.port, shared_port: shared.port, styles: library.list().map(({ id }) => id) },
    'serving',
  );
  await announcer.untilSeen(SEEN_AT_START_MS);
  serving = true;

  return {
    close: drainSteps({
      settings,
      readiness,
      slot,
      announcer,
      own,
      shared,
      inference,
      stopTimers: () => {
        stopGolden();
        void purging.stop();
      },
    }),
  };
}

/** Workers share out the devices of the first provider among themselves. */
function deviceOf({ models, instance }: LoadedSettings): number {
  const devices = devicesOf(models.execution_providers[0] ?? 'cpu') ?? 0;
  return devices > 0 ? instance % devices : 0;
}

async function loadLibrary(
  settings: LoadedSettings,
  inference: Inference,
  speed: Speed,
  log: Log,
): Promise<Library> {
  const {
    dir,
    default_style: defaultStyle,
    lighter_style: lighterStyle,
    execution_providers: providers,
  } = settings.models;
  const chosen = chooseInstalled(installedIn(dir), settings.models.load);
  const installed = { ...chosen, models: computedOn(chosen.models, providers) };
  const choices = choicesOf(settings);
  const library = new Library(installed, defaultStyle, inference, choices, exactFolderOf(settings), {
    lighterStyle,
    onProof: ({ name }, { width, height, ms }) => speed.proved(name, width * height, ms),
  });
  for (const fault of await library.load()) {
    log.warn({ error: fault }, `left out, while the others draw: ${fault.message}`);
  }
  for (const drawn of library.drawnWith()) log.info(drawn, 'loaded');
  return library;
}

async function listenShared(
  app: Parameters<typeof listen>[0],
  host: string,
  port: number,
): Promise<Listening> {
  try {
    return await listen(app, { host, port, exclusive: false });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    throw new Error(`port ${port} on ${host} is taken by another program; set worker.shared_port`, {
      cause: error,
    });
  }
}

/** Leaving, in order: say so, stop taking, finish, wait to be unseen, go. */
function drainSteps(parts: {
  readonly settings: LoadedSettings;
  readonly readiness: Readiness;
  readonly slot: Slot;
  readonly announcer: Announcer;
  readonly own: Listening;
  readonly shared: Listening;
  readonly inference: Inference;
  readonly stopTimers: () => void;
}): CloseStep[] {
  const { settings, readiness, slot, announcer, own, shared, inference, stopTimers } = parts;
  return [
    {
      name: 'say that it leaves',
      run: () => {
        stopTimers();
        readiness.happened({ kind: 'drain' });
        shared.stopAccepting();
      },
    },
    // Meanwhile the own port tells balancers "draining", and connections of the shared port hear "close" with their
    // next answer.
    { name: 'wait until it was seen', run: () => announcer.untilSeen(SEEN_AT_END_MS) },
    {
      name: 'let connections of the shared port leave by themselves',
      run: () => atMost(settings.worker.drain_grace, shared.empty),
    },
    {
      name: 'finish what runs',
      run: async () => {
        own.stopAccepting();
        shared.closeIdle();
        own.closeIdle();
        await atMost(settings.balancer.deadline, Promise.all([own.empty, shared.empty]));
        if (slot.busy || slot.queued > 0)
          (await slot.claim(performance.now() + 1000).catch(() => () => {}))();
      },
    },
    { name: 'say goodbye', run: () => announcer.goodbye() },
    {
      name: 'close',
      run: async () => {
        own.closeAll();
        shared.closeAll();
        await inference.close();
      },
    },
  ];
}

async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([
    work,
    new Promise((resolve) => {
      timer = setTimeout(resolve, ms);
    }),
  ]);
  clearTimeout(timer);
}

/** A host that listens on every address is reached by loopback from its own machine. */
function reachable(host: string): string {
  return host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host;
}

function agentOf({ agent }: LoadedSettings): string {
  return `http://${reachable(agent.host)}:${agent.port}`;
}
