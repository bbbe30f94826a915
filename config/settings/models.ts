// The section models: which there are, which are loaded, and what they are computed on. A model's own facts stand in its
// manifest. Pure.

import { z } from 'zod';
import { flag, folder, list, room, text } from './field.ts';

/** What ONNX Runtime may compute on. Which of them there are depends on its package and on the machine. */
export const EXECUTION_PROVIDERS = ['cpu', 'cuda', 'tensorrt', 'webgpu', 'coreml', 'dml'] as const;
export type ExecutionProvider = (typeof EXECUTION_PROVIDERS)[number];

/** The section models. */
export const models = room({
  dir: folder('', 'Where added models live; empty is models/ in data_dir.'),
  default_style: text(
    'meadow',
    /^[a-z0-9][a-z0-9_-]{0,63}$/,
    'the id of a style',
    'sky',
    'The style of a request that names none.',
  ),
  lighter_style: text(
    '',
    /^([a-z0-9][a-z0-9_-]{0,63})?$/,
    'the id of a style',
    'meadow',
    'What effort=auto draws when the wanted style cannot be ready before the deadline in any size; empty: nothing else.',
  ),
  faster: flag(
    true,
    'Draw added models with graphs that are rewritten for this CPU and draw the same to the last rounding, where that is faster.',
  ),
  execution_providers: list(
    z.array(z.enum(EXECUTION_PROVIDERS)).min(1),
    {
      sentence:
        "What ONNX Runtime computes on, the first that can do a step taking it; a model's manifest may name others. With worker.count auto there is one worker for each device of the first.",
      allowed: `a list of ${EXECUTION_PROVIDERS.join(', ')}, as far as the installed onnxruntime-node has them`,
      example: '["cuda", "cpu"]',
    },
    ['cpu'],
  ),
  mirrors: list(z.array(z.string().regex(/^https?:\/\/[^\s?#]+$/)), {
    sentence:
      'Where models pull looks before the published place, which is kept as MIRROR/HOST/PATH of its address.',
    allowed: 'a list of http(s) addresses',
    example: '["http://mirror.lan/models"]',
  }),
  proxy: text(
    '',
    /^(http:\/\/[^\s/]+\/?)?$/,
    'http://[USER:PASSWORD@]HOST:PORT',
    'http://proxy.lan:3128',
    'The proxy that models pull goes through; empty takes HTTPS_PROXY of the environment, if any.',
  ),
  load: list(z.array(z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/)), {
    sentence: 'Names of the models that each worker loads; empty loads all that are installed.',
    allowed: 'a list of model names',
    example: '["meadow", "sky"]',
    fallback: '[] (all)',
  }),
});
