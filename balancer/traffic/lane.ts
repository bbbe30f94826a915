// Which releases may draw one request's picture, given which of them can work now. Pure.
//
//   asked by name     that release, whatever its weight; no other
//   by weight         the client's best release that can work now; the next best when it cannot
//   none of these can work   a release that nobody has given a weight, as in the middle of an update. Never one whose
//                     weight was set to 0: somebody has decided against it
//   no weights set    all

import { preference, type Weights } from './weights.ts';

/** What decides over one request's release. */
export type Lane =
  | { readonly kind: 'any' }
  | { readonly kind: 'named'; readonly release: string }
  | { readonly kind: 'weighted'; readonly order: readonly string[]; readonly weights: Weights };

/** The lane of a request; `weights` undefined when traffic is not divided. */
export function laneOf(weights: Weights | undefined, client: string, named: string | undefined): Lane {
  if (named !== undefined) return { kind: 'named', release: named };
  if (weights === undefined) return { kind: 'any' };
  return { kind: 'weighted', order: preference(weights, client), weights };
}

/** Where a lane leads at a moment: to one release, to all that have no weight, or to everybody. */
export type Destination =
  | { readonly kind: 'everybody' }
  | { readonly kind: 'release'; readonly release: string }
  | { readonly kind: 'unweighted'; readonly weights: Weights };

/** Where a lane leads when these releases can work. */
export function destinationOf(lane: Lane, canWork: (release: string) => boolean): Destination {
  switch (lane.kind) {
    case 'any':
      return { kind: 'everybody' };
    case 'named':
      return { kind: 'release', release: lane.release };
    case 'weighted': {
      const release = lane.order.find(canWork);
      return release === undefined
        ? { kind: 'unweighted', weights: lane.weights }
        : { kind: 'release', release };
    }
  }
}

/** Whether a worker of this release (undefined: of no known one) lies on the way. */
export function leadsTo(destination: Destination, release: string | undefined): boolean {
  switch (destination.kind) {
    case 'everybody':
      return true;
    case 'release':
      return release === destination.release;
    case 'unweighted':
      return release === undefined || !Object.hasOwn(destination.weights, release);
  }
}
