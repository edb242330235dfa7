/** What the tests share: the templates of an environment, and a spec that is changed. */

import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App, Aspects, type Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { AwsSolutionsChecks } from 'cdk-nag';
import { inBucket } from '../src/code';
import { skipped } from '../src/nag';
import { readEnvironments, readJson, readSpec, SPEC_FOLDER } from '../src/spec';
import { yardStacks } from '../src/stacks';
import { Yard } from '../src/yard';

export interface Resource {
  readonly id: string;
  readonly type: string;
  readonly properties: any;
}

function once<T>(make: (environment: string) => T): (environment: string) => T {
  const made = new Map<string, T>();
  return (environment) => {
    const known = made.get(environment) ?? make(environment);
    made.set(environment, known);
    return known;
  };
}

export function yardOf(environment: string): Yard {
  const spec = readSpec();
  return new Yard(spec, readEnvironments(spec)[environment]);
}

/** The stacks of an environment, checked by cdk-nag when they are synthesized. Made once: no test changes them. */
export const stacksOf = once((environment: string): Stack[] => {
  // The templates themselves are validated where they are written, by `infra/test.sh`.
  const app = new App({ analyticsReporting: false, builtinCloudFormationValidation: false });
  const yard = yardOf(environment);
  const stacks = yardStacks(app, yard, inBucket('proofyard-functions'));
  skipped(stacks, yard);
  Aspects.of(app).add(new AwsSolutionsChecks({ reports: false }));
  return stacks;
});

/** All resources of an environment, with what AWS says of itself filled in. */
export const resourcesOf = once((environment: string): Resource[] => {
  return stacksOf(environment).flatMap((stack) => {
    const { Resources: resources = {} } = Template.fromStack(stack).toJSON();
    return Object.entries(resources as Record<string, { Type: string; Properties?: object }>).map(([id, { Type: type, Properties: properties }]) => ({
      id,
      type,
      properties: resolved(properties ?? {}),
    }));
  });
});

export function ofType(resources: readonly Resource[], type: string): Resource[] {
  return resources.filter((resource) => resource.type === type);
}

const PSEUDO: Record<string, string> = { 'AWS::AccountId': '111122223333', 'AWS::Region': 'us-east-1', 'AWS::Partition': 'aws', 'AWS::URLSuffix': 'amazonaws.com' };

function resolved(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(resolved);
  }
  if (value === null || typeof value !== 'object') {
    return value;
  }
  const held = value as Record<string, unknown>;
  if ('Fn::Join' in held) {
    const [between, parts] = held['Fn::Join'] as [string, unknown[]];
    return parts.map(resolved).join(between);
  }
  if (typeof held.Ref === 'string') {
    return PSEUDO[held.Ref] ?? held.Ref;
  }
  if ('Fn::GetAtt' in held) {
    return (held['Fn::GetAtt'] as string[]).join('.');
  }
  return Object.fromEntries(Object.entries(held).map(([key, inner]) => [key, resolved(inner)]));
}

/** A file of the spec with something changed, in a folder of its own. */
export function changed(file: string, change: (content: any) => void): string {
  const content = readJson(join(SPEC_FOLDER, file));
  change(content);
  const place = join(mkdtempSync(join(tmpdir(), 'proofyard-spec-')), file);
  writeFileSync(place, JSON.stringify(content));
  return place;
}
