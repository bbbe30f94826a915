// What passes between the inference thread and the thread that asks it: values that a MessagePort carries, each request with
// its id. Knows no ONNX Runtime.

import type { ExecutionProvider } from '../../../config/schema.ts';
import type { Face } from '../../faces/detection.ts';
import type { Canvas, CropPlan } from '../../faces/warp.ts';
import type { DetectorSpec } from '../entries/face-entries.ts';
import type { TensorFormat } from '../entries/tensor-format.ts';
import type { ExactOrder } from '../variants/exact-order.ts';
import type { Chosen } from '../variants/exact-variant.ts';

/** The element types and shapes of a model's one input and one output; a string stands for any size. */
export interface ModelIo {
  readonly input: { readonly type: string; readonly shape: readonly (number | string)[] };
  readonly output: { readonly type: string; readonly shape: readonly (number | string)[] };
}

/** What the thread is started with. */
export interface ThreadData {
  /** Which of several devices of a kind it computes on. */
  readonly device: number;
}

/** What the thread is asked. */
export type ThreadRequest =
  | {
      readonly kind: 'load';
      readonly id: number;
      readonly name: string;
      readonly path: string;
      /** Undefined while a model is being added, when there is nothing to compare with yet. */
      readonly sha256: string | undefined;
      readonly exact: ExactOrder | undefined;
      /** Whether it takes pictures of one size only. */
      readonly oneSize: boolean;
      readonly providers: readonly ExecutionProvider[];
    }
  | {
      readonly kind: 'run';
      readonly id: number;
      readonly name: string;
      readonly format: TensorFormat;
      readonly pixels: Uint8Array;
      readonly width: number;
      readonly height: number;
    }
  | {
      readonly kind: 'load-detector';
      readonly id: number;
      readonly name: string;
      readonly path: string;
      readonly sha256: string | undefined;
    }
  | {
      readonly kind: 'detect';
      readonly id: number;
      readonly name: string;
      readonly spec: DetectorSpec;
      readonly pixels: Uint8Array;
      readonly width: number;
      readonly height: number;
    }
  | {
      readonly kind: 'draw-face';
      readonly id: number;
      readonly name: string;
      readonly format: TensorFormat;
      readonly photo: Canvas;
      readonly drawing: Canvas;
      readonly plan: CropPlan;
      readonly mask: Uint8Array;
    };

/** What the thread answers; `fault` is for the operator. */
export type ThreadReply =
  | {
      readonly kind: 'loaded';
      readonly id: number;
      readonly io: ModelIo;
      readonly sha256: string;
      readonly variant: Chosen['variant'];
      readonly why: string | undefined;
    }
  | { readonly kind: 'drawn'; readonly id: number; readonly pixels: Uint8Array; readonly ms: number }
  | { readonly kind: 'detector-loaded'; readonly id: number; readonly sha256: string }
  | {
      readonly kind: 'detected';
      readonly id: number;
      readonly faces: readonly Face[];
      /** The outputs in short, by which a detector is proven. */
      readonly means: readonly number[];
      readonly ms: number;
    }
  | {
      readonly kind: 'face-drawn';
      readonly id: number;
      readonly photo: Canvas;
      readonly drawing: Canvas;
      readonly ms: number;
    }
  | {
      readonly kind: 'fault';
      readonly id: number;
      readonly fault: string;
      /** The model may be sound: what was to compute it is not there. */
      readonly provider: boolean;
    };
