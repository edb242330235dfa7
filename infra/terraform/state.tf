# What outlives everything else: the table, the bucket, the key that both are encrypted under, the webhook's secret, and those of nodes and of sinks.
#
# The CDK leaves them behind when it destroys a yard whose data is kept. A parameter cannot choose so in Terraform: a
# destroy is refused instead, by DynamoDB for the table and by S3 for a bucket that holds something, and the key and the
# secret can be brought back for 30 days.

resource "aws_kms_key" "yard" {
  description             = "Proofyard, yard ${local.yard}"
  enable_key_rotation     = true
  deletion_window_in_days = var.parameters.keep_data ? 30 : 7
  tags                    = local.tags

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Account"
        Effect    = "Allow"
        Principal = { AWS = "${local.iam}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        # As AWS's own keys have it: who may use the table may use what it is encrypted under, through the table.
        Sid       = "ThroughServices"
        Effect    = "Allow"
        Principal = { AWS = "*" }
        Action = [
          "kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*",
        ]
        Resource = "*"
        Condition = {
          StringEquals = {
            "kms:CallerAccount" = var.account
            "kms:ViaService"    = [for service in local.spec.key.services : "${service}.${local.region}.${var.url_suffix}"]
          }
        }
      },
      {
        # EventBridge does not say for whom it asks. What it may write is limited by the policy of each queue.
        Sid       = "Events"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
      },
      {
        Sid       = "Alarms"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:SourceAccount" = var.account } }
      },
    ]
  })
}

resource "aws_kms_alias" "yard" {
  name          = local.spec.key.alias
  target_key_id = aws_kms_key.yard.key_id
}

resource "aws_dynamodb_table" "yard" {
  name                        = local.spec.table.name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = local.spec.table.partition_key.name
  range_key                   = local.spec.table.sort_key.name
  deletion_protection_enabled = var.parameters.keep_data
  tags                        = local.tags

  dynamic "attribute" {
    for_each = [
      local.spec.table.partition_key,
      local.spec.table.sort_key,
      local.spec.table.index.partition_key,
      local.spec.table.index.sort_key,
    ]
    content {
      name = attribute.value.name
      type = attribute.value.type
    }
  }

  global_secondary_index {
    name            = local.spec.table.index.name
    hash_key        = local.spec.table.index.partition_key.name
    range_key       = local.spec.table.index.sort_key.name
    projection_type = "KEYS_ONLY"
  }

  ttl {
    attribute_name = local.spec.table.ttl_attribute
    enabled        = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = aws_kms_key.yard.arn
  }

  point_in_time_recovery {
    enabled = var.parameters.keep_data
  }
}

resource "aws_s3_bucket" "yard" {
  bucket        = local.spec.bucket.name
  force_destroy = !var.parameters.keep_data
  tags          = local.tags
}

resource "aws_s3_bucket_server_side_encryption_configuration" "yard" {
  bucket = aws_s3_bucket.yard.bucket

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.yard.arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "yard" {
  bucket                  = aws_s3_bucket.yard.bucket
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "yard" {
  bucket = aws_s3_bucket.yard.bucket

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "yard" {
  bucket = aws_s3_bucket.yard.bucket

  rule {
    id     = "abort-uploads"
    status = "Enabled"

    filter {
      prefix = ""
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = local.spec.bucket.abort_uploads_after_days
    }
  }

  # What an attempt left for the next one: of no use once the task is done.
  rule {
    id     = "expire-made"
    status = "Enabled"

    filter {
      prefix = "made/"
    }

    expiration {
      days = local.spec.bucket.expire_made_after_days
    }
  }
}

resource "aws_s3_bucket_policy" "yard" {
  bucket = aws_s3_bucket.yard.bucket

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OnlyOverTls"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = ["${local.arn}:s3:::${local.spec.bucket.name}", "${local.arn}:s3:::${local.spec.bucket.name}/*"]
      Condition = local.only_tls
    }]
  })
}

resource "aws_secretsmanager_secret" "webhook" {
  name                    = local.spec.webhook.secret
  description             = "What senders of block events sign with"
  kms_key_id              = aws_kms_key.yard.arn
  recovery_window_in_days = var.parameters.keep_data ? 30 : 0
  tags                    = local.tags
}

# Not known before the first apply, so that AWS makes the secret then, and a first plan needs no network.
resource "terraform_data" "secret_length" {
  input = 48
}

ephemeral "aws_secretsmanager_random_password" "webhook" {
  password_length     = terraform_data.secret_length.output
  exclude_punctuation = true
}

# Written once, and never read back: the state does not hold it. A higher version writes a new one.
resource "aws_secretsmanager_secret_version" "webhook" {
  secret_id                = aws_secretsmanager_secret.webhook.id
  secret_string_wo         = ephemeral.aws_secretsmanager_random_password.webhook.random_password
  secret_string_wo_version = 1
}

# It holds nothing until somebody puts it there.
resource "aws_secretsmanager_secret" "nodes" {
  name                    = local.spec.nodes.secret
  description             = "URLs of nodes that have a key in them, by the names that pipelines give them"
  kms_key_id              = aws_kms_key.yard.arn
  recovery_window_in_days = var.parameters.keep_data ? 30 : 0
  tags                    = local.tags
}

resource "aws_secretsmanager_secret" "sinks" {
  name                    = local.spec.sinks.secret
  description             = "What sinks need from outside, by the names that pipelines give it"
  kms_key_id              = aws_kms_key.yard.arn
  recovery_window_in_days = var.parameters.keep_data ? 30 : 0
  tags                    = local.tags
}

resource "aws_secretsmanager_secret" "keys" {
  count = var.parameters.proposer == null ? 0 : 1

  name                    = local.spec.proposer.secret
  description             = "What sinks that hold keys need from outside, by the names that pipelines give it"
  kms_key_id              = aws_kms_key.yard.arn
  recovery_window_in_days = var.parameters.keep_data ? 30 : 0
  tags                    = local.tags
}
