/** Where the functions' programs come from. */

import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AssetHashType } from 'aws-cdk-lib';
import { Asset } from 'aws-cdk-lib/aws-s3-assets';
import { BadSpec } from './spec';
import type { Code } from './stacks/functions';

/** As `functions/build.sh` leaves them: `FOLDER/BINARY/bootstrap`. A zip's hash differs from build to build, a program's
 * does not, so that an unchanged function is not deployed again. */
export function built(folder: string): Code {
  return (stack, binary) => {
    const place = join(folder, binary);
    const program = join(place, 'bootstrap');
    if (!existsSync(program)) {
      throw new BadSpec(`${program} is missing; build it with: bash functions/build.sh`);
    }
    const assetHash = createHash('sha256').update(readFileSync(program)).digest('hex');
    const asset = new Asset(stack, `Code-${binary}`, { path: place, assetHash, assetHashType: AssetHashType.CUSTOM });
    return { s3Bucket: asset.s3BucketName, s3Key: asset.s3ObjectKey };
  };
}

/** Whoever deploys the template puts `BINARY.zip` there. */
export function inBucket(s3Bucket: string): Code {
  return (_, binary) => ({ s3Bucket, s3Key: `${binary}.zip` });
}
