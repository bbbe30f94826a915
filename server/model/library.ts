// The models that this worker draws with: loaded, proven by their golden pictures, and found by style.
// Knows no HTTP; whoever asks for a golden check holds the slot.

import { join } from 'node:path';
import { type Style, styleVersion, thumbnailPath } from '../../config/contract.ts';
import { ToonError } from '../../config/errors.ts';
import { RELEASE } from '../../ops/process/package.ts';
import { FileFault, ModelFault, ProviderFault } from './entries/fault.ts';
import {
  asVariant,
  type FaceComposite,
  type Installed,
  type InstalledComposite,
  type InstalledDetector,
  type InstalledModel,
  SOURCE_VARIANT,
  type StyleModel,
} from './entries/installed.ts';
import { goldenInput, judge } from './golden.ts';
import { detectorPicture, whyOtherMeans } from './inference/detector.ts';
import type { Drawing, Inference, LoadedModel } from './inference/session.ts';
import { maskOf } from './mask-file.ts';
import { aliasesOf, type InstalledStyle, resolveStyle, stylesOf } from './styles.ts';
import { type Choices, NO_CHOICES } from './variants/choices.ts';
import { exactOrder } from './variants/exact-order.ts';

/** Golden pictures that a variant is measured by, after the one that proves it. */
const MEASURED_ROUNDS = 2;

/** What a worker may add to its library. */
export interface LibraryOptions {
  readonly lighterStyle?: string;
  readonly onProof?: OnProof;
}

/** Hears of every golden picture that was drawn: how large it is and how long it took. */
export type OnProof = (model: InstalledModel, drawing: Drawing) => void;

/** The models of one worker. */
export class Library {
  #models: readonly InstalledModel[];
  readonly #composites: readonly InstalledComposite[];
  #detectors: readonly InstalledDetector[] = [];
  #styles: readonly InstalledStyle[];
  readonly #defaultId: string;
  /** Undefined until its composite is loaded. */
  #defaultStyle: InstalledStyle | undefined;
  readonly #inference: Inference;
  readonly #choices: Choices;
  readonly #exactFolder: string | undefined;
  readonly #lighterStyle: string;
  readonly #onProof: OnProof;
  /** Why an added model is drawn with its file as it is. */
  readonly #why = new Map<string, string>();
  #nextProof = 0;

  /**
   * @param installed What is to be loaded; a list alone has generators only.
   * @param exactFolder Where the graphs are kept that were rewritten for this CPU; without it files are drawn with as they are.
   * @param lighterStyle The id of the style that `effort=auto` may fall back on; empty for none.
   * @throws {ModelFault} when the default style or the lighter one is not among the models.
   */
  constructor(
    installed: readonly InstalledModel[] | Omit<Installed, 'detectors'>,
    defaultStyle: string,
    inference: Inference,
    choices: Choices = NO_CHOICES,
    exactFolder?: string,
    { lighterStyle = '', onProof = () => {} }: LibraryOptions = {},
  ) {
    this.#lighterStyle = lighterStyle;
    this.#onProof = onProof;
    this.#exactFolder = exactFolder;
    this.#choices = choices;
    const { models, composites } =
      'composites' in installed ? installed : { models: installed, composites: [] };
    this.#models = models;
    this.#composites = composites;
    this.#inference = inference;
    this.#styles = stylesOf(models);
    this.#defaultId = defaultStyle;
    this.#defaultStyle = this.#styles.find((style) => style.id === defaultStyle);
    const ids = [...models, ...composites].flatMap(({ styles }) => styles.map(({ id }) => id));
    refuseUnknown('models.default_style', defaultStyle, ids);
    if (lighterStyle !== '') refuseUnknown('models.lighter_style', lighterStyle, ids);
  }

  /** What draws here. */
  get models(): readonly StyleModel[] {
    return [...this.#models, ...this.#styles.map(({ model }) => model).filter(isComposite)];
  }

  /**
   * Loads every model and proves each by its golden picture, which also warms it up. An added model that fails is left
   * out, so that the others draw; one that the package brings, or that draws the default style, must not fail.
   * @returns The faults of the models that were left out; each names its model and what to do.
   * @throws {ModelFault} that names the first model that must not fail, and what to do.
   */
  async load(): Promise<readonly ModelFault[]> {
    const faults: ModelFault[] = [];
    const left = new Map<string, ModelFault>();
    const sound: InstalledModel[] = [];
    for (const model of this.#models) {
      try {
        const { chosen, faults: wrong } = await this.#loadFastest(model);
        sound.push(chosen);
        faults.push(...wrong);
      } catch (error) {
        if (!(error instanceof ModelFault) || model.embedded || model === this.#defaultStyle?.model)
          throw error;
        faults.push(error);
        left.set(model.name, error);
      }
    }
    this.#models = sound;
    const composed: FaceComposite[] = [];
    for (const composite of this.#composites) {
      const loaded = await orFault(this.#loadComposite(composite, left));
      if (!(loaded instanceof ModelFault)) composed.push(loaded);
      else if (composite.styles.some(({ id }) => id === this.#defaultId)) throw loaded;
      else faults.push(loaded);
    }
    this.#styles = stylesOf([...sound, ...composed]);
    this.#defaultStyle = this.#styles.find(({ id }) => id === this.#defaultId) ?? this.#defaultStyle;
    return faults;
  }

  /**
   * Puts a composite together of parts that are loaded, after loading its detector and its mask.
   * @param left What is wrong with the models that were left out.
   */
  async #loadComposite(
    composite: InstalledComposite,
    left: ReadonlyMap<string, ModelFault>,
  ): Promise<FaceComposite> {
    const part = ({ name }: InstalledModel): InstalledModel => {
      const found = this.#models.find((model) => model.name === name);
      if (found) return found;
      const cause = left.get(name);
      throw new ModelFault(
        `${composite.name}: its part ${name} was left out, and so is it: ${cause?.message}`,
        { cause },
      );
    };
    const [face, background] = [part(composite.face), part(composite.background)];
    const { detector } = composite;
    if (!this.#detectors.some(({ name }) => name === detector.name)) {
      try {
        await this.#inference.loadDetector(detector);
      } catch (error) {
        throw error instanceof ModelFault ? withAdvice(error) : error;
      }
      await this.#proveDetector(detector);
      this.#detectors = [...this.#detectors, detector];
    }
    return { ...composite, face, background, maskPixels: await maskOf(composite) };
  }

  /**
   * Loads what of a model draws the fastest here, and correctly: as it was measured before on such a CPU, or measured now,
   * which takes three golden pictures of each variant.
   */
  async #loadFastest(model: InstalledModel): Promise<{ chosen: InstalledModel; faults: ModelFault[] }> {
    const variants = (model.variants ?? []).map((variant) => asVariant(model, variant));
    if (variants.length === 0) {
      return { chosen: await this.#loadAndProve(model), faults: [] };
    }
    const all = [...variants, model];
    const known = this.#choices.of(model);
    const chosen = await this.#loadRemembered(all, known);
    if (chosen) return { chosen, faults: [] };
    return this.#choices.alone(async () => {
      const found = this.#choices.of(model);
      const chosen = found === known ? undefined : await this.#loadRemembered(all, found);
      return chosen ? { chosen, faults: [] } : this.#measureAll(model, all);
    });
  }

  /** What was chosen before; undefined when nothing was, or it draws no more. */
  async #loadRemembered(
    all: readonly InstalledModel[],
    name: string | undefined,
  ): Promise<InstalledModel | undefined> {
    const remembered = all.find(({ variant }) => variant === name);
    const chosen = remembered && (await orFault(this.#loadAndProve(remembered)));
    return chosen instanceof ModelFault ? undefined : chosen;
  }

  async #measureAll(
    model: InstalledModel,
    all: readonly InstalledModel[],
  ): Promise<{ chosen: InstalledModel; faults: ModelFault[] }> {
    const faults: ModelFault[] = [];
    let fastest: { model: InstalledModel; ms: number } | undefined;
    let whole = true;
    for (const each of all) {
      const loaded = await orFault(this.#loadAndProve(each));
      if (loaded instanceof ModelFault) {
        faults.push(new ModelFault(`variant ${each.variant}: ${loaded.message}`, { cause: loaded }));
        whole &&= !(loaded.cause instanceof FileFault);
        continue;
      }
      const ms = await this.#measure(each);
      if (!fastest || ms < fastest.ms) fastest = { model: each, ms };
    }
    if (!fastest) throw faults[0] ?? new ModelFault(`model ${model.name}: nothing of it draws`);
    // In the thread a model gives way to the next of its name, and the last one tried was the source.
    const chosen = await this.#loadAndProve(fastest.model);
    // A choice goes by the manifest's digests: a file that is mended would have the same, and never be tried.
    if (whole) await this.#choices.remember(model, fastest.model.variant);
    return { chosen, faults };
  }

  /** The cost of a golden picture with what is loaded; the least of some, since others disturb and nothing helps. */
  async #measure(model: InstalledModel): Promise<number> {
    let least = Number.POSITIVE_INFINITY;
    for (let round = 0; round < MEASURED_ROUNDS; round++) {
      const picture = goldenInput(model, model.golden.seed);
      const began = this.#choices.clock();
      await this.#inference.run(model, picture);
      least = Math.min(least, this.#choices.clock() - began);
    }
    return least;
  }

  /** Loads a model or one of its variants and proves it; the graph rewritten for this CPU where that is the faster one. */
  async #loadAndProve(model: InstalledModel): Promise<InstalledModel> {
    const { variant, why } = await this.#load(model, this.#exactFolder);
    if (why !== undefined) this.#why.set(model.name, why);
    try {
      await this.#prove(model);
      return variant === 'f32' ? model : { ...model, variant };
    } catch (error) {
      // Kept from another kind of CPU, say: the file itself is asked before the model is given up.
      if (variant === 'f32') throw error;
      await this.#load(model, undefined);
      await this.#prove(model);
      this.#why.set(model.name, `its graph for this CPU failed: ${(error as Error).message}`);
      return model;
    }
  }

  async #load(model: InstalledModel, folder: string | undefined): Promise<LoadedModel> {
    const { name, path, fileSha256: sha256, execution_providers, fixed_size } = model;
    try {
      return await this.#inference.load(
        { name, path, sha256, execution_providers, fixed_size },
        folder === undefined ? undefined : exactOrder(model, folder),
      );
    } catch (error) {
      if (error instanceof ProviderFault) throw error;
      throw error instanceof ModelFault ? withAdvice(error, model) : error;
    }
  }

  /** What each added model is drawn with, and where it is the file as it is, why. */
  drawnWith(): { model: string; variant: string; why: string | undefined }[] {
    return this.#models
      .filter(({ embedded }) => !embedded)
      .map(({ name: model, variant }) => ({
        model,
        variant,
        why: variant === SOURCE_VARIANT ? this.#why.get(model) : undefined,
      }));
  }

  /**
   * Proves the next model in turn by its golden picture; the caller holds the slot meanwhile. One that goes wrong stays
   * the next: a right picture of another model does not speak for it.
   * @throws {ModelFault} when it does not draw what it should.
   */
  async proveNext(): Promise<void> {
    const turns = [...this.#models, ...this.#detectors];
    const next = turns[this.#nextProof % turns.length];
    if (next?.kind === 'generator') await this.#prove(next);
    if (next?.kind === 'detector') await this.#proveDetector(next);
    this.#nextProof++;
  }

  /**
   * The style that a request means; undefined means the default.
   * @throws {ToonError} `unknown_style`, which lists what there is.
   */
  style(name: string | undefined): InstalledStyle {
    const style = name === undefined ? this.#defaultStyle : resolveStyle(name, this.#styles);
    if (style) return style;
    const styles = this.#styles.map(({ id }) => id);
    throw new ToonError('unknown_style', {
      detail: `There is no style "${name ?? this.#defaultId}"; there are ${styles.join(', ')}.`,
      extra: { styles },
    });
  }

  /** What `effort=auto` may draw when nothing else is ready in time; undefined also where its model was left out. */
  get lighter(): InstalledStyle | undefined {
    return this.#styles.find(({ id }) => id === this.#lighterStyle);
  }

  /** Where the thumbnail of an added style lies; undefined for what the package brings, and for styles without one. */
  thumbnailFile(id: string): string | undefined {
    const style = this.#styles.find((each) => each.id === id);
    if (!style?.thumbnail || style.model.embedded) return undefined;
    return join(style.model.folder, style.thumbnail);
  }

  /** The styles as clients see them. */
  list(): Style[] {
    return this.#styles.map((style) => ({
      id: style.id,
      title: style.title,
      model: style.model.name,
      licence: style.model.licence,
      thumbnail_url: style.thumbnail === undefined ? null : thumbnailPath(style.id),
      aliases: aliasesOf(style, this.#styles),
      default: style === this.#defaultStyle,
      version: styleVersion(style.model.sha256, RELEASE, style.model.feeding),
    }));
  }

  async #prove(model: InstalledModel): Promise<void> {
    const drawing = await this.#inference.run(model, goldenInput(model, model.golden.seed));
    this.#onProof(model, drawing);
    const verdict = judge(drawing, model.golden);
    if (verdict.kind === 'wrong')
      throw withAdvice(new ModelFault(`model ${model.name} (${model.path}): ${verdict.why}`), model);
  }

  async #proveDetector(detector: InstalledDetector): Promise<void> {
    const { means } = await this.#inference.detect(detector, detectorPicture(detector, detector.golden.seed));
    const why = whyOtherMeans(means, detector.golden.means);
    if (why) throw withAdvice(new ModelFault(`detector ${detector.name} (${detector.path}): ${why}`));
  }
}

const isComposite = (model: StyleModel): model is FaceComposite => model.kind === 'face-composite';

function refuseUnknown(setting: string, id: string, ids: readonly string[]): void {
  if (ids.includes(id)) return;
  throw new ModelFault(
    `${setting} is ${id}, but the styles are ${ids.join(', ')}; name one of these, or load the model that draws it`,
  );
}

async function orFault<T>(work: Promise<T>): Promise<T | ModelFault> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof ModelFault) return error;
    throw error;
  }
}

/** A fault with what an operator can do about it. */
function withAdvice(fault: ModelFault, model?: InstalledModel): ModelFault {
  if (model?.variants?.some(({ name }) => name === model.variant))
    return new ModelFault(`${fault.message}; make it again: toonfleet models optimize ${model.name}`, {
      cause: fault,
    });
  const advice = model?.embedded
    ? 'install the package again'
    : 'remove it (toonfleet models remove) and add it again, or name the models to load in models.load';
  return new ModelFault(`${fault.message}; ${advice}, then: toonfleet models verify`, { cause: fault });
}
