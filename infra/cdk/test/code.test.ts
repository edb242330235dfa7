/** A function is deployed again when its program changes, and only then. */

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { App } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { built } from '../src/code';
import { BadSpec, readEnvironments, readSpec } from '../src/spec';
import { FunctionsStack } from '../src/stacks/functions';
import { Yard } from '../src/yard';

const PROGRAMS = ['ingest', 'dispatcher', 'collector', 'sweeper', 'follower', 'notifier', 'proposer'].map((name) => `proofyard-${name}`);

function folderWith(content: string, at: Date): string {
  const folder = mkdtempSync(join(tmpdir(), 'proofyard-programs-'));
  for (const program of PROGRAMS) {
    mkdirSync(join(folder, program));
    writeFileSync(join(folder, program, 'bootstrap'), content + program);
    utimesSync(join(folder, program, 'bootstrap'), at, at);
  }
  return folder;
}

function keysOf(folder: string): string[] {
  const spec = readSpec();
  const stack = new FunctionsStack(new App({ builtinCloudFormationValidation: false }), new Yard(spec, readEnvironments(spec).local), {}, built(folder));
  const functions = Template.fromStack(stack).findResources('AWS::Lambda::Function');
  return Object.values(functions).map((made) => made.Properties.Code.S3Key);
}

test('the same program is the same code, whenever it was built', () => {
  const keys = keysOf(folderWith('a', new Date(0)));
  assert.equal(new Set(keys).size, PROGRAMS.length);
  assert.deepEqual(keysOf(folderWith('a', new Date())), keys);
  assert.ok(keysOf(folderWith('b', new Date(0))).every((key) => !keys.includes(key)));
});

test('a program that is not built is named, with the way to build it', () => {
  assert.throws(() => keysOf(mkdtempSync(join(tmpdir(), 'proofyard-programs-'))), (error: unknown) => {
    assert.ok(error instanceof BadSpec);
    return /proofyard-ingest\/bootstrap is missing; build it with: bash functions\/build\.sh/.test(error.message);
  });
});
