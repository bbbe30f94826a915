// Writes the AnimeGANv2 architecture with weights by chance as an ONNX file, for benches: as heavy as the real one, and
// nothing to look at.
//
//   npx tsx server/model/bench/write-animegan-v2.ts FILE.onnx

import { writeFileSync } from 'node:fs';
import { writeModel } from '../onnx/model-file.ts';
import { animeganV2 } from '../optimize/animegan-v2.ts';

const [file] = process.argv.slice(2);
if (file === undefined) throw new Error('name the file to write');
writeFileSync(file, writeModel(animeganV2(1)));
