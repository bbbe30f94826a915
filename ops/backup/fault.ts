// Why a backup or a restore was not done. Pure.

/** In words for an operator: what happened, what stands, what to do. */
export class BackupFault extends Error {
  override readonly name = 'BackupFault';
}
