# What is planned for environments as they are written. With AWS's own provider, which needs no network for it:
# Terraform's mocks know no ephemeral resources, and check no arguments.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "offline"
  secret_key                  = "offline"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  account   = "123456789012"
  functions = "./tests/functions"
}

run "written" {
  command = plan
  module {
    source = "./tests/broken"
  }
}

run "dev" {
  command = plan
  variables {
    parameters = run.written.environments.dev
  }
  assert {
    condition     = keys(aws_batch_job_queue.pool) == ["cpu"] && keys(aws_batch_job_definition.worker) == ["cpu", "cpu-warm"]
    error_message = "Only the pool that it wants has a job queue and jobs."
  }
  assert {
    condition     = aws_sqs_queue.queue["wake-cpu"].name == "proofyard-dev-wake-cpu" && length(aws_sqs_queue.queue) == 7
    error_message = "Each pool has a queue that wakes its workers, beside the six that a yard has."
  }
  assert {
    condition     = !aws_dynamodb_table.yard.deletion_protection_enabled && aws_s3_bucket.yard.force_destroy
    error_message = "Data that is not kept goes with the yard."
  }
  assert {
    condition     = aws_lambda_event_source_mapping.queue["collector"].scaling_config[0].maximum_concurrency == 50
    error_message = "Without pollers, the spec's concurrency limits a function."
  }
  assert {
    condition = (
      aws_lambda_function.function["ingest"].source_code_hash ==
      filebase64sha256("tests/functions/proofyard-ingest/bootstrap")
    )
    error_message = "A function is new when its program is, whatever its zip."
  }
  assert {
    condition     = length(aws_vpc.yard) == 1 && length(aws_subnet.yard) == 3 && length(aws_vpc_endpoint.yard) == 2
    error_message = "Without a network of its own, one is made."
  }
}

run "dev_with_a_proposer" {
  command = plan
  variables {
    parameters = merge(run.written.environments.dev, {
      proposer = { kms_keys = ["arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"] }
    })
  }
  assert {
    condition = (
      aws_sqs_queue.queue["propose"].name == "proofyard-dev-propose.fifo" && length(aws_sqs_queue.queue) == 8 &&
      aws_secretsmanager_secret.keys[0].name == "proofyard/dev/keys" && contains(keys(aws_lambda_function.function), "proposer")
    )
    error_message = "Where it is asked for there are its function, its queue and its secret."
  }
  assert {
    condition = reverse(jsondecode(aws_iam_role_policy.role["proposer"].policy).Statement)[0] == {
      Effect   = "Allow"
      Action   = ["kms:GetPublicKey", "kms:Sign"]
      Resource = ["arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"]
    }
    error_message = "It may have the keys sign that are named."
  }
  assert {
    condition = (
      jsondecode(aws_iam_role_policy.role["proposer"].policy).Statement[1].Condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"] ==
      ["A#*", "C#*", "N#*"] && aws_sqs_queue.queue["propose"].tags == tomap({ "proofyard:yard" = "dev" })
    )
    error_message = "One that does not act writes no task, and says so."
  }
}

run "dev_with_a_proposer_that_acts" {
  command = plan
  variables {
    parameters = merge(run.written.environments.dev, { proposer = { acts = true } })
  }
  assert {
    condition = (
      jsondecode(aws_iam_role_policy.role["proposer"].policy).Statement[1].Condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"] ==
      ["A#*", "C#*", "N#*", "T#*", "M#*", "R#*", "W#*"]
    )
    error_message = "It writes what workers write."
  }
  assert {
    condition     = aws_sqs_queue.queue["propose"].tags["proofyard:acts"] == "true"
    error_message = "Its queue says that it acts."
  }
}

run "in_a_region_of_two_zones" {
  command = plan
  variables {
    parameters = run.written.environments.dev
    zones      = ["us-west-1a", "us-west-1c"]
  }
  assert {
    condition     = [for subnet in aws_subnet.yard : subnet.availability_zone] == ["us-west-1a", "us-west-1c"]
    error_message = "A network has as many zones as there are."
  }
}

run "in_zones_that_are_named" {
  command = plan
  variables {
    parameters = merge(run.written.environments.dev, { zones = ["us-east-1b", "us-east-1d"] })
    zones      = ["us-east-1a", "us-east-1b", "us-east-1c", "us-east-1d"]
  }
  assert {
    condition     = [for subnet in aws_subnet.yard : subnet.availability_zone] == ["us-east-1b", "us-east-1d"]
    error_message = "What the environment names counts."
  }
}

run "prod" {
  command = plan
  variables {
    parameters = run.written.environments.prod
  }
  assert {
    condition = (
      aws_dynamodb_table.yard.deletion_protection_enabled &&
      aws_dynamodb_table.yard.point_in_time_recovery[0].enabled &&
      !aws_s3_bucket.yard.force_destroy
    )
    error_message = "Data that is kept withstands a destroy."
  }
  assert {
    condition     = aws_lambda_event_source_mapping.queue["collector"].provisioned_poller_config[0].maximum_pollers == 20
    error_message = "FIFO queues have the pollers that the environment wants."
  }
  assert {
    condition     = aws_lambda_event_source_mapping.queue["sweeper"].scaling_config[0].maximum_concurrency == 2
    error_message = "A queue that is not FIFO has none."
  }
  assert {
    condition     = aws_batch_compute_environment.pool["gpu8-spot"].compute_resources[0].max_vcpus == 4 * 192
    error_message = "There is room for as many workers as the environment wants, each on a machine."
  }
  assert {
    condition = jsondecode(aws_batch_job_definition.worker["gpu8"].container_properties).command == [
      "proofyard-worker", "--pool", "gpu8", "--max-tasks", "1", "--idle-out-ms", "600000"
    ]
    error_message = "A worker is told its pool and when to end."
  }
  assert {
    condition = (
      aws_cloudwatch_metric_alarm.alarm["lag-seconds"].threshold == 60 &&
      aws_cloudwatch_metric_alarm.alarm["runnable-gpu"].threshold == 600
    )
    error_message = "An environment's thresholds stand in place of the spec's."
  }
  assert {
    condition     = length([for alarm in aws_cloudwatch_metric_alarm.alarm : alarm if alarm.alarm_actions == null]) == 8
    error_message = "What pages does so together, through one alarm; a halt does so by itself."
  }
  assert {
    condition = [
      for statement in jsondecode(aws_iam_role_policy.role["ingest"].policy).Statement : statement.Condition
      if can(statement.Condition)
    ] == [{ "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = ["C#*", "Y#format"] } }]
    error_message = "The function that anybody can call reads the registry of chains and the format, and no other keys."
  }
  assert {
    condition = alltrue([
      for text in concat([for role in aws_iam_role_policy.role : role.policy], [aws_cloudwatch_dashboard.yard.dashboard_body]) :
      !can(regex("[{][a-z_]+[}]", text))
    ])
    error_message = "Nothing is left in braces."
  }
}

run "network_that_is_given" {
  command = plan
  variables {
    parameters = merge(run.written.environments.dev, {
      network = { vpc_id = "vpc-1", subnet_ids = ["subnet-1", "subnet-2"] }
    })
  }
  assert {
    condition     = length(aws_vpc.yard) + length(aws_subnet.yard) + length(aws_vpc_endpoint.yard) + length(aws_route.out) == 0
    error_message = "None is made."
  }
  assert {
    condition = (
      aws_security_group.workers.vpc_id == "vpc-1" &&
      aws_batch_compute_environment.pool["cpu-spot"].compute_resources[0].subnets == toset(["subnet-1", "subnet-2"])
    )
    error_message = "Machines run in it."
  }
}

run "functions_in_a_bucket" {
  command = plan
  variables {
    parameters       = run.written.environments.local
    functions        = "/nowhere"
    functions_bucket = "proofyard-functions"
  }
  assert {
    condition     = aws_lambda_function.function["sweeper"].s3_key == "proofyard-sweeper.zip"
    error_message = "They are taken from there, and no program is looked at."
  }
}

run "emails" {
  command = plan
  variables {
    parameters = merge(run.written.environments.dev, {
      page_emails = ["a@example.com"], notice_emails = ["a@example.com", "b@example.com"]
    })
  }
  assert {
    condition = (
      aws_sns_topic_subscription.email["page a@example.com"].topic_arn ==
      "arn:aws:sns:us-east-1:123456789012:proofyard-dev-page"
    )
    error_message = "Who is paged."
  }
  assert {
    condition     = length(aws_sns_topic_subscription.email) == 3
    error_message = "One may be told both."
  }
}

run "account" {
  command = plan
  variables {
    parameters = run.written.environments.dev
    account    = "12345"
  }
  expect_failures = [var.account]
}
