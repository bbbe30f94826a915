// The configurations with which other programs rotate and ship our logs, for this machine. Pure: the caller reads the
// templates beside this file.

import { fillTemplate } from '../process/template.ts';

/** Programs that do something with our logs, and the templates of their configurations. */
export const LOG_PROGRAMS = {
  logrotate: 'logrotate.conf',
  rsyslog: 'rsyslog.conf',
  filebeat: 'filebeat.yml',
} as const;
export type LogProgram = keyof typeof LOG_PROGRAMS;
export const logPrograms = Object.keys(LOG_PROGRAMS) as readonly LogProgram[];

/** Where things are on the machine that the configuration is for. */
export interface LogPlaces {
  readonly dataDir: string;
  /** The program Node, and the release whose `logs reopen` is called. */
  readonly node: string;
  readonly root: string;
  /** Whose the logs are. */
  readonly user: string;
  /** The name of this machine in what is sent. */
  readonly vm: string;
  /** Where lines go: HOST:PORT for rsyslog, the address of Elasticsearch for Filebeat; not needed by logrotate. */
  readonly to: string | undefined;
}

/** Why a configuration cannot be made, in a sentence. */
export class RenderFault extends Error {}

/**
 * A program's configuration.
 * @throws {RenderFault} when it would not know where to send to.
 */
export function renderLogs(program: LogProgram, template: string, places: LogPlaces): string {
  const { dataDir, node, root, user, vm } = places;
  // All three quote paths, each in its own way; a path that needs it is refused.
  const odd = [dataDir, node, root].find((path) => /["'\\\s*?[\]{}$`;&|<>()]/.test(path));
  if (odd !== undefined) throw new RenderFault(`${odd} has a character that cannot stand here.`);
  const common = { log_dir: `${dataDir}/pm2/logs`, user, vm };
  switch (program) {
    case 'logrotate':
      return fillTemplate(template, { ...common, data_dir: dataDir, node, root });
    case 'rsyslog': {
      const [, host, port] =
        /^(?:tcp:\/\/)?(\[[0-9a-fA-F:.]+\]|[0-9A-Za-z._-]+):(\d{1,5})$/.exec(places.to ?? '') ?? [];
      if (host === undefined || port === undefined)
        throw new RenderFault('rsyslog: where to? Such as --to logs.lan:5514.');
      const bare = host.replace(/^\[|\]$/g, '');
      return fillTemplate(template, { ...common, to: `${host}:${port}`, host: bare, port });
    }
    case 'filebeat': {
      const to = places.to ?? '';
      if (!/^https?:\/\/[^\s"\\/]+\/?$/.test(to))
        throw new RenderFault('filebeat: where to? Such as --to https://elastic.lan:9200.');
      return fillTemplate(template, { ...common, to });
    }
  }
}
