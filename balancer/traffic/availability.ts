// Whether a node may leave: never so many that fewer than `min_available` stay in service. Pure.

/** A node as this judgement needs it. */
export interface NodeInService {
  readonly id: string;
  /** It has a worker that takes pictures now. */
  readonly available: boolean;
}

export type LeaveVerdict =
  | { readonly kind: 'may_leave' }
  | { readonly kind: 'refused'; readonly wouldStay: number; readonly sentence: string };

/** Judges one node's leaving. A node that serves nobody anyway costs nothing. */
export function mayLeave(
  nodes: readonly NodeInService[],
  leaving: { readonly id: string; readonly name: string },
  minAvailable: number,
  what: string,
): LeaveVerdict {
  const self = nodes.find(({ id }) => id === leaving.id);
  if (!self?.available) return { kind: 'may_leave' };
  const wouldStay = nodes.filter(({ id, available }) => available && id !== leaving.id).length;
  if (wouldStay >= minAvailable) return { kind: 'may_leave' };
  return {
    kind: 'refused',
    wouldStay,
    sentence: `${what} ${leaving.name} would leave ${wouldStay} ${wouldStay === 1 ? 'node' : 'nodes'} in service, and balancer.min_available is ${minAvailable}. Bring another node into service first, or lower that setting.`,
  };
}
