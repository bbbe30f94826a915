// One worker as the balancer sees it: its states and what moves it between them. Pure.
// Knows nothing of addresses, sockets or clocks; whoever calls `next` logs and counts, once, when the kind changed.
//
//            passed                  failed × fall, refused, lost
//   joining ────────► up ──────────────────────────────────────────► ejected
//      ▲ ▲            │ ◄────────────────────────────────────────────  │
//      │ └────────────┤ loading        passed × rise                   │
//      │              │ leaving                                        │ leaving
//      │              ▼                                                ▼
//      └────────── draining ◄──────────────────────────────────────────┘
//        loading       │  passed × rise: up again (somebody undrained it)
//                      ▼  failed × fall, refused, lost: ejected
//   removed: from any state to gone, which is the end.

/** Why an upstream was taken out for health. */
export type EjectReason = 'checks_failed' | 'connection_refused' | 'connection_lost';

export type UpstreamState =
  /** Known, never yet seen ready (or restarted and loading). Takes nothing. */
  | { readonly kind: 'joining' }
  /** Takes work. `failed` counts failed checks in a row. */
  | { readonly kind: 'up'; readonly failed: number }
  /** Out for health. `passed` counts passing checks in a row. */
  | { readonly kind: 'ejected'; readonly reason: EjectReason; readonly passed: number }
  /** Leaves on purpose: finishes what it has, takes nothing new. */
  | { readonly kind: 'draining'; readonly passed: number; readonly failed: number }
  /** Removed from the roster or the settings. */
  | { readonly kind: 'gone' };

export type UpstreamEvent =
  /** A check was answered "ready". */
  | { readonly kind: 'passed' }
  /** A check timed out or was answered with anything but ready, loading or draining. */
  | { readonly kind: 'failed' }
  /** A connection was refused: nobody listens there. Hard evidence, one is enough. */
  | { readonly kind: 'refused' }
  /** A connection that carried a picture was lost. Hard evidence, one is enough. */
  | { readonly kind: 'lost' }
  /** It says that it loads its models: it has been started again. */
  | { readonly kind: 'loading' }
  /** It says, or its agent says, that it is leaving. */
  | { readonly kind: 'leaving' }
  /** Its agent no longer lists it. */
  | { readonly kind: 'removed' };

/** How many checks in a row change a state. */
export interface CheckCounts {
  readonly rise: number;
  readonly fall: number;
}

export const JOINING: UpstreamState = { kind: 'joining' };
const UP: UpstreamState = { kind: 'up', failed: 0 };
const GONE: UpstreamState = { kind: 'gone' };

const ejected = (reason: EjectReason): UpstreamState => ({ kind: 'ejected', reason, passed: 0 });

/** The state after an event; the same object when nothing changed. */
export function next(state: UpstreamState, event: UpstreamEvent, counts: CheckCounts): UpstreamState {
  if (state.kind === 'gone') return state;
  switch (event.kind) {
    case 'removed':
      return GONE;
    case 'leaving':
      return state.kind === 'draining' && state.passed === 0 && state.failed === 0
        ? state
        : { kind: 'draining', passed: 0, failed: 0 };
    case 'loading':
      return JOINING;
    case 'passed':
      return afterPass(state, counts);
    case 'failed':
      return afterFailure(state, counts);
    case 'refused':
      return afterHardEvidence(state, 'connection_refused');
    case 'lost':
      return afterHardEvidence(state, 'connection_lost');
  }
}

/** Whether work may be given to an upstream in this state. */
export function takesWork(state: UpstreamState): boolean {
  return state.kind === 'up';
}

function afterPass(state: Exclude<UpstreamState, { kind: 'gone' }>, { rise }: CheckCounts): UpstreamState {
  switch (state.kind) {
    case 'joining':
      return UP;
    case 'up':
      return state.failed === 0 ? state : UP;
    case 'ejected':
      return state.passed + 1 >= rise ? UP : { ...state, passed: state.passed + 1 };
    case 'draining':
      return state.passed + 1 >= rise ? UP : { ...state, passed: state.passed + 1, failed: 0 };
  }
}

function afterFailure(state: Exclude<UpstreamState, { kind: 'gone' }>, { fall }: CheckCounts): UpstreamState {
  switch (state.kind) {
    case 'joining':
      return state;
    case 'up':
      return state.failed + 1 >= fall ? ejected('checks_failed') : { ...state, failed: state.failed + 1 };
    case 'ejected':
      return state.passed === 0 ? state : { ...state, passed: 0 };
    case 'draining':
      return state.failed + 1 >= fall
        ? ejected('checks_failed')
        : { ...state, passed: 0, failed: state.failed + 1 };
  }
}

function afterHardEvidence(
  state: Exclude<UpstreamState, { kind: 'gone' }>,
  reason: EjectReason,
): UpstreamState {
  switch (state.kind) {
    case 'joining':
      return state;
    case 'up':
    case 'draining':
      return ejected(reason);
    case 'ejected':
      return state.passed === 0 ? state : { ...state, passed: 0 };
  }
}
