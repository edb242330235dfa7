/**
 * `cdk deploy --all -c environment=dev`: the stacks of one environment of `infra/spec/environments.json`.
 *
 * `-c environments=FILE` names another file of environments, `-c functions=FOLDER` where the functions' programs are (default: target/lambda).
 */

import { resolve } from 'node:path';
import { App, Aspects } from 'aws-cdk-lib';
import { AwsSolutionsChecks } from 'cdk-nag';
import { built, inBucket } from './code';
import { skipped } from './nag';
import { BadSpec, checkPaged, readEnvironments, readSpec } from './spec';
import { yardStacks } from './stacks';
import { Yard } from './yard';

const TARGET = resolve(__dirname, '..', '..', '..', '..', 'target', 'lambda');
/** The environment that the local AWS is made from: it has functions that somebody else puts there. */
const LOCAL = 'local';

function main(): void {
  const app = new App({ analyticsReporting: false });
  const spec = readSpec();
  const environments = readEnvironments(spec, app.node.tryGetContext('environments'));
  const name: string | undefined = app.node.tryGetContext('environment');
  const parameters = name === undefined ? undefined : environments[name];
  if (name === undefined || parameters === undefined) {
    throw new BadSpec(`-c environment=${name ?? ''} names no environment; infra/spec/environments.json has ${Object.keys(environments).join(', ')}`);
  }
  const code = name === LOCAL ? inBucket('proofyard-functions') : built(app.node.tryGetContext('functions') ?? TARGET);
  checkPaged(name, parameters);
  if (parameters.keep_data && parameters.page_emails.length === 0) {
    console.warn(`warning: /${name}/page_emails of infra/spec/environments.json is empty: nobody is told when proving falls behind`);
  }
  const yard = new Yard(spec, parameters);
  skipped(yardStacks(app, yard, code), yard);
  Aspects.of(app).add(new AwsSolutionsChecks());
  app.synth();
}

try {
  main();
} catch (error) {
  if (!(error instanceof BadSpec)) {
    throw error;
  }
  console.error(`error: ${error.message}`);
  process.exitCode = 2;
}
