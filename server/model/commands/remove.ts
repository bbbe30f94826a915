// `toonfleet models remove`: an added model, detector or composite goes, with its files. What draws goes on until it is
// reloaded.

import { ModelFault } from '../entries/fault.ts';
import { leave } from '../entries/leave.ts';
import { type AnyEntry, addedManifestPath } from '../entries/manifest.ts';
import { type ModelsSettings, parse, UsageFault } from './arguments.ts';

/** Removes one entry. */
export async function remove(args: readonly string[], settings: ModelsSettings): Promise<number> {
  const { values, positionals } = parse(args, { 'dry-run': { type: 'boolean' } });
  const [name, ...more] = positionals;
  if (name === undefined || more.length > 0) throw new UsageFault('remove takes one NAME');
  const { dir } = settings.models;
  const files = await leave(name, dir, {
    refuse: (entry) => refuseNeeded(entry, settings),
    dryRun: values['dry-run'] === true,
  });
  for (const file of files) console.log(file);
  if (values['dry-run']) return 0;
  console.log(`${name} is gone from ${addedManifestPath(dir)}. Workers draw it until: toonfleet reload`);
  return 0;
}

/** The settings would name what is not there, and no worker would get ready after a reload. */
function refuseNeeded(entry: AnyEntry, { models }: ModelsSettings): void {
  const { default_style, lighter_style, load } = models;
  const ids = entry.kind === 'detector' ? [] : entry.styles.map(({ id }) => id);
  const needed = [
    ...(ids.includes(default_style) ? ['models.default_style'] : []),
    ...(ids.includes(lighter_style) ? ['models.lighter_style'] : []),
    ...(load.includes(entry.name) ? ['models.load'] : []),
  ];
  if (needed.length > 0)
    throw new ModelFault(
      `${entry.name} is needed by ${needed.join(' and ')}; set something else there first`,
    );
}
