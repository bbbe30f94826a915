// What is wrong with models, and with what is to compute them: whoever runs a fleet mends it. Pure.

/** What is wrong with the installed models, in words for an operator. */
export class ModelFault extends Error {
  override readonly name = 'ModelFault';
}

/** A model's file is gone, damaged or not the manifest's; the right one may be brought again at any time. */
export class FileFault extends ModelFault {}

/** What is to compute a model is not there; the model itself may be sound. */
export class ProviderFault extends ModelFault {}
