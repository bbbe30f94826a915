// Measures how late this process sees what happens: a short timer that finds itself late tells what a request or an
// answer would have met. Decides nothing.

const INTERVAL_MS = 20;
/** Timers are never exact to the millisecond. */
const USUAL_MS = 2;

/** Tells each lag, in ms, when it is over; returns how to stop. */
export function watchLoop(now: () => number, tell: (lagMs: number) => void): () => void {
  let dueAt = now() + INTERVAL_MS;
  const timer = setInterval(() => {
    const lagMs = now() - dueAt;
    dueAt = now() + INTERVAL_MS;
    if (lagMs > USUAL_MS) tell(lagMs);
  }, INTERVAL_MS);
  timer.unref();
  return () => clearInterval(timer);
}
