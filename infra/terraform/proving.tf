# AWS Batch: for each pool spot machines, with machines at full price behind them, and the jobs that are its workers.

locals {
  # Asked for by queues with a scheduling policy; it ranks jobs of one share, which here are all alike.
  priority = 1
  # Work that was given is forgotten by fair shares within so long.
  share_decay_s = 3600

  known   = coalesce(var.parameters.zones, var.zones, [for letter in ["a", "b", "c"] : "${local.region}${letter}"])
  zones   = slice(local.known, 0, min(length(local.known), length(local.spec.network.zones)))
  network = var.parameters.network
  vpc     = local.network == null ? one(aws_vpc.yard[*].id) : local.network.vpc_id
  subnets = local.network == null ? aws_subnet.yard[*].id : local.network.subnet_ids

  # As Batch takes it: several parts, so that it can add its own.
  boundary = "==PROOFYARD=="
  machine  = replace(file("${local.spec_folder}/machine.sh"), "{scratch}", local.spec.batch.scratch)
  user_data = join("\n", [
    "MIME-Version: 1.0",
    "Content-Type: multipart/mixed; boundary=\"${local.boundary}\"",
    "",
    "--${local.boundary}",
    "Content-Type: text/x-shellscript; charset=\"us-ascii\"",
    "",
    local.machine,
    "--${local.boundary}--",
    "",
  ])

  # By pool and kind: the first is taken first.
  kinds = {
    spot = {
      type        = "SPOT"
      environment = local.spec.batch.spot_environment
      allocation  = local.spec.batch.spot_allocation
    }
    on-demand = {
      type        = "EC2"
      environment = local.spec.batch.on_demand_environment
      allocation  = local.spec.batch.on_demand_allocation
    }
  }
  environments = merge([for name, pool in local.pools : { for kind, described in local.kinds : "${name}-${kind}" => {
    name       = replace(described.environment, "{pool}", name)
    pool       = name
    type       = described.type
    allocation = described.allocation
    machines   = pool.machines
    max_vcpus  = pool.max_workers * max([for type in pool.machines : local.spec.machines[type].vcpus]...)
    image_type = pool.gpus > 0 ? "ECS_AL2023_NVIDIA" : "ECS_AL2023"
  } }]...)

  needs    = { for name, pool in local.pools : name => { VCPU = pool.vcpus, MEMORY = pool.memory_mb, GPU = pool.gpus } }
  commands = { for name, pool in local.pools : name => concat(local.spec.worker.command, ["--pool", name]) }
  jobs = merge([for name, pool in local.pools : {
    (name) = {
      name      = pool.job_definition
      pool      = name
      timeout_s = pool.timeout_s
      command = concat(
        local.commands[name],
        pool.max_tasks > 0 ? ["--max-tasks", tostring(pool.max_tasks)] : [],
        ["--idle-out-ms", tostring(pool.idle_out_ms)],
      )
    }
    "${name}${local.spec.batch.warm_suffix}" = {
      name      = "${pool.job_definition}${local.spec.batch.warm_suffix}"
      pool      = name
      timeout_s = local.spec.batch.warm_timeout_s
      command   = local.commands[name]
    }
  }]...)
}

# Public addresses and no way in: without a gateway that costs by the hour, a yard at rest costs nothing here.
resource "aws_vpc" "yard" {
  count = local.network == null ? 1 : 0

  cidr_block           = local.spec.network.cidr
  enable_dns_hostnames = true
  enable_dns_support   = true
  tags                 = local.tags
}

resource "aws_internet_gateway" "yard" {
  count = local.network == null ? 1 : 0

  vpc_id = aws_vpc.yard[0].id
  tags   = local.tags
}

resource "aws_route_table" "yard" {
  count = local.network == null ? 1 : 0

  vpc_id = aws_vpc.yard[0].id
  tags   = local.tags
}

resource "aws_route" "out" {
  count = local.network == null ? 1 : 0

  route_table_id         = aws_route_table.yard[0].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.yard[0].id
}

resource "aws_subnet" "yard" {
  count = local.network == null ? length(local.zones) : 0

  vpc_id                  = aws_vpc.yard[0].id
  cidr_block              = local.spec.network.zones[count.index]
  availability_zone       = local.zones[count.index]
  map_public_ip_on_launch = true
  tags                    = local.tags
}

resource "aws_route_table_association" "yard" {
  count = local.network == null ? length(local.zones) : 0

  subnet_id      = aws_subnet.yard[count.index].id
  route_table_id = aws_route_table.yard[0].id
}

resource "aws_vpc_endpoint" "yard" {
  for_each = toset(local.network == null ? ["s3", "dynamodb"] : [])

  vpc_id            = aws_vpc.yard[0].id
  service_name      = "com.amazonaws.${local.region}.${each.key}"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [aws_route_table.yard[0].id]
  tags              = local.tags
}

resource "aws_security_group" "workers" {
  name        = "${local.spec.table.name}-workers"
  description = "Workers: nothing comes in, HTTPS goes out"
  vpc_id      = local.vpc
  tags        = local.tags

  egress {
    description = "AWS"
    protocol    = "tcp"
    from_port   = 443
    to_port     = 443
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_launch_template" "pool" {
  for_each = local.pools

  name      = replace(local.spec.batch.launch_template, "{pool}", each.key)
  user_data = base64encode(local.user_data)

  metadata_options {
    http_tokens                 = "required"
    http_endpoint               = "enabled"
    http_put_response_hop_limit = 2
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_type           = "gp3"
      volume_size           = local.spec.batch.root_volume_gb
      encrypted             = true
      delete_on_termination = true
    }
  }
}

resource "aws_batch_compute_environment" "pool" {
  for_each = local.environments

  compute_environment_name = each.value.name
  type                     = "MANAGED"
  state                    = "ENABLED"
  tags                     = local.tags

  update_policy {
    terminate_jobs_on_update      = false
    job_execution_timeout_minutes = 60
  }

  compute_resources {
    type                = each.value.type
    allocation_strategy = each.value.allocation
    min_vcpus           = 0
    max_vcpus           = each.value.max_vcpus
    instance_type       = each.value.machines
    instance_role       = "${local.iam}:instance-profile/${aws_iam_instance_profile.instance.name}"
    subnets             = local.subnets
    security_group_ids  = [aws_security_group.workers.id]
    tags                = merge(local.tags, { Name = "${local.spec.table.name}-${each.value.pool}" })

    ec2_configuration {
      image_type = each.value.image_type
    }

    # By its number: what a machine runs when it starts changes for those that start from then on.
    launch_template {
      launch_template_name = aws_launch_template.pool[each.value.pool].name
      version              = aws_launch_template.pool[each.value.pool].latest_version
    }
  }

  depends_on = [aws_iam_role_policy.role]
}

resource "aws_batch_scheduling_policy" "shares" {
  name = local.spec.batch.scheduling_policy
  tags = local.tags

  fair_share_policy {
    share_decay_seconds = local.share_decay_s

    dynamic "share_distribution" {
      for_each = local.spec.batch.shares
      content {
        share_identifier = share_distribution.key
        weight_factor    = share_distribution.value
      }
    }
  }
}

resource "aws_batch_job_queue" "pool" {
  for_each = local.pools

  name                  = each.value.job_queue
  state                 = "ENABLED"
  priority              = 1
  scheduling_policy_arn = "${local.batch}:scheduling-policy/${aws_batch_scheduling_policy.shares.name}"
  tags                  = local.tags

  # Spot first; full price where there is none.
  dynamic "compute_environment_order" {
    for_each = [for kind in ["spot", "on-demand"] : aws_batch_compute_environment.pool["${each.key}-${kind}"]]
    content {
      order               = compute_environment_order.key + 1
      compute_environment = "${local.batch}:compute-environment/${compute_environment_order.value.compute_environment_name}"
    }
  }

  dynamic "job_state_time_limit_action" {
    for_each = [
      "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY",
      "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
      "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
    ]
    content {
      reason           = job_state_time_limit_action.value
      state            = "RUNNABLE"
      action           = "CANCEL"
      max_time_seconds = local.spec.batch.runnable_limit_s
    }
  }
}

resource "aws_cloudwatch_log_group" "pool" {
  for_each = local.pools

  name              = replace(local.spec.batch.log_group, "{pool}", each.key)
  retention_in_days = var.parameters.log_retention_days
  tags              = local.tags
}

resource "aws_batch_job_definition" "worker" {
  for_each = local.jobs

  name                  = each.value.name
  type                  = "container"
  platform_capabilities = ["EC2"]
  propagate_tags        = true
  scheduling_priority   = local.priority
  tags                  = local.tags

  container_properties = jsonencode({
    image            = local.spec.worker.image
    command          = each.value.command
    jobRoleArn       = "${local.iam}:role/${aws_iam_role.role[local.role_of_pool[each.value.pool]].name}"
    executionRoleArn = "${local.iam}:role/${aws_iam_role.role["execution"].name}"
    environment = [
      for name, value in merge(local.environment, { AWS_REGION = local.region }) : { name = name, value = value }
    ]
    resourceRequirements = [
      for type, count in local.needs[each.value.pool] : { type = type, value = tostring(count) } if count > 0
    ]
    mountPoints = [{ sourceVolume = "scratch", containerPath = "/scratch", readOnly = false }]
    volumes     = [{ name = "scratch", host = { sourcePath = local.spec.batch.scratch } }]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.pool[each.value.pool].name
        awslogs-region        = local.region
        awslogs-stream-prefix = "worker"
      }
    }
  })

  retry_strategy {
    attempts = local.pools[each.value.pool].attempts

    evaluate_on_exit {
      on_status_reason = "Host EC2*"
      action           = "RETRY"
    }

    evaluate_on_exit {
      on_reason = "*"
      action    = "EXIT"
    }
  }

  timeout {
    attempt_duration_seconds = each.value.timeout_s
  }

  depends_on = [aws_iam_role_policy.role]
}
