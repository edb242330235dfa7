/** What stands elsewhere of what is made here: the runbook, and the templates of the local AWS. */

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { Template } from 'aws-cdk-lib/assertions';
import { readSpec } from '../src/spec';
import { ofType, resourcesOf, stacksOf } from './support';

const ROOT = resolve(__dirname, '..', '..', '..', '..');

test('every alarm has a section in the runbook, and every section an alarm', () => {
  const runbook = readFileSync(resolve(ROOT, 'docs', 'runbook.md'), 'utf8');
  const sections = runbook.split(/^## /m).slice(1);
  const alarms = new Map(sections.map((section) => [section.slice(0, section.indexOf('\n')).trim(), section]));
  const known = readSpec().alarms;
  for (const alarm of Object.keys(known)) {
    const section = alarms.get(alarm);
    assert.ok(section, `docs/runbook.md has no section ${alarm}`);
    assert.ok(section.includes('proofyard '), `${alarm}: which command to look with?`);
    for (const part of ['**Means.**', '**Look.**', '**Do.**']) {
      assert.ok(section.includes(part), `${alarm}: ${part}`);
    }
  }
  assert.deepEqual([...alarms.keys()].filter((name) => !(name in known) && /^[a-z-]+$/.test(name)), []);
  for (const { properties } of ofType(resourcesOf('prod'), 'AWS::CloudWatch::Alarm')) {
    const [, section] = /docs\/runbook\.md#([a-z-]+)$/.exec(properties.AlarmDescription)!;
    assert.ok(alarms.has(section), properties.AlarmName);
  }
});

test('the local AWS is made from what the CDK makes', () => {
  for (const stack of stacksOf('local')) {
    const file = resolve(ROOT, 'localstack', 'templates', `${stack.node.id}.json`);
    assert.ok(existsSync(file), `${file}: make it with bash infra/local-templates.sh`);
    const kept = JSON.parse(readFileSync(file, 'utf8'));
    const made = Template.fromStack(stack).toJSON();
    assert.deepEqual(kept, made, `${file} is not what the CDK makes; make it anew with bash infra/local-templates.sh`);
  }
});
