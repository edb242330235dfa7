# Each refusal, with the place that it names. They are of modules that need no provider.

run "written" {
  command = plan
  module {
    source = "./tests/broken"
  }
  assert {
    condition     = output.said == ""
    error_message = output.said
  }
}

run "written_dev" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    environment = "dev"
  }
  assert {
    condition     = output.said == ""
    error_message = output.said
  }
}

run "written_staging" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    environment = "staging"
  }
  assert {
    condition     = output.said == ""
    error_message = output.said
  }
}

run "written_local" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    environment = "local"
  }
  assert {
    condition     = output.said == ""
    error_message = output.said
  }
}

run "spec_unknown_section" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    spec = { quotas = {} }
  }
  assert {
    condition     = output.said == "yard.json: /quotas is no field of it"
    error_message = output.said
  }
}

run "spec_unknown_field" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    spec = { queue_defaults = { visibilty_s = 30 } }
  }
  assert {
    condition     = output.said == "yard.json: /queue_defaults/visibilty_s is no field of it"
    error_message = output.said
  }
}

run "spec_unknown_field_of_a_queue" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    spec = { queues = { ticks = merge(run.written.spec.queues.ticks, { retention = 60 }) } }
  }
  assert {
    condition     = output.said == "yard.json: /queues/ticks/retention is no field of it"
    error_message = output.said
  }
}

run "spec_unknown_field_of_a_function" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    spec = { functions = { ingest = merge(run.written.spec.functions.ingest, { memory = 512 }) } }
  }
  assert {
    condition     = output.said == "yard.json: /functions/ingest/memory is no field of it"
    error_message = output.said
  }
}

run "spec_unknown_field_of_a_pool" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    spec = { pools = { cpu = merge(run.written.spec.pools.cpu, { spot = true }) } }
  }
  assert {
    condition     = output.said == "yard.json: /pools/cpu/spot is no field of it"
    error_message = output.said
  }
}

run "spec_unknown_field_of_an_alarm" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    spec = { alarms = { halted = merge(run.written.spec.alarms.halted, { over = 1 }) } }
  }
  assert {
    condition     = output.said == "yard.json: /alarms/halted/over is no field of it"
    error_message = output.said
  }
}

run "spec_unknown_field_of_a_statement" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    spec = { policies = { fail = [merge(run.written.spec.policies.fail[0], { keys = ["C#*"] })] } }
  }
  assert {
    condition     = output.said == "yard.json: /policies/fail/0/keys is no field of it"
    error_message = output.said
  }
}

run "spec_missing_field" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    spec = { queue_defaults = { retention_s = null } }
  }
  assert {
    condition     = output.said == "yard.json: /queue_defaults lacks retention_s"
    error_message = output.said
  }
}

run "spec_wrong_type" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    spec = { batch = { root_volume_gb = "large" } }
  }
  assert {
    condition     = output.said == "yard.json: /batch/root_volume_gb is of type string; it must be of type integer"
    error_message = output.said
  }
}

run "spec_too_small" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    spec = { batch = { root_volume_gb = 8 } }
  }
  assert {
    condition     = output.said == "yard.json: /batch/root_volume_gb is 8; it must be at least 30"
    error_message = output.said
  }
}

run "spec_not_one_of" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    spec = { function_defaults = { architecture = "riscv" } }
  }
  assert {
    condition     = output.said == "yard.json: /function_defaults/architecture is \"riscv\"; it must be one of [\"x86_64\",\"arm64\"]"
    error_message = output.said
  }
}

run "spec_both_above_and_below" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    spec = { alarms = { halted = merge(run.written.spec.alarms.halted, { below = 1 }) } }
  }
  assert {
    condition     = output.said == "yard.json: /alarms/halted must have exactly one of above, below"
    error_message = output.said
  }
}

run "messages_that_come_back_too_soon" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    spec = { queue_defaults = { visibility_s = 29 } }
  }
  assert {
    condition     = output.said == "yard.json: /queue_defaults/visibility_s is 29; it must be at least 30, 6 times /function_defaults/timeout_s, or messages come back while a function still has them"
    error_message = output.said
  }
}

run "messages_that_come_back_too_soon_to_one_function" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    spec = { functions = { sweeper = merge(run.written.spec.functions.sweeper, { timeout_s = 31 }) } }
  }
  assert {
    condition     = output.said == "yard.json: /queues/ticks/visibility_s is 180; it must be at least 186, 6 times /functions/sweeper/timeout_s, or messages come back while a function still has them"
    error_message = output.said
  }
}

run "machine_in_no_pool" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    spec = { machines = { "p6-b200.48xlarge" = { vcpus = 192, memory_mb = 2097152, gpus = 8 } } }
  }
  assert {
    condition     = output.said == "yard.json: /machines/p6-b200.48xlarge is in no pool; add it to the machines of one, or remove it"
    error_message = output.said
  }
}

run "pool_of_an_unknown_machine" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    spec = { pools = { gpu8 = merge(run.written.spec.pools.gpu8, { machines = ["p5.48xlarge", "p5e.48xlarge"] }) } }
  }
  assert {
    condition     = output.said == "yard.json: /pools/gpu8/machines names p5e.48xlarge, which /machines lacks; say there what it has"
    error_message = output.said
  }
}

run "pool_with_too_many_vcpus" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    spec = { pools = { gpu8 = merge(run.written.spec.pools.gpu8, { vcpus = 193 }) } }
  }
  assert {
    condition     = output.said == "yard.json: /pools/gpu8/vcpus asks for 193; a p5.48xlarge has 192 for it, so its workers would wait for ever"
    error_message = output.said
  }
}

run "pool_with_too_much_memory" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    spec = { pools = { gpu8 = merge(run.written.spec.pools.gpu8, { memory_mb = 1887437 }) } }
  }
  assert {
    condition     = output.said == "yard.json: /pools/gpu8/memory_mb asks for 1887437; a p5.48xlarge has 1887436 for it, so its workers would wait for ever"
    error_message = output.said
  }
}

run "pool_with_too_many_gpus" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    spec = { pools = { gpu8 = merge(run.written.spec.pools.gpu8, { gpus = 16 }) } }
  }
  assert {
    condition     = output.said == "yard.json: /pools/gpu8/gpus asks for 16; a p5.48xlarge has 8 for it, so its workers would wait for ever"
    error_message = output.said
  }
}

run "role_of_an_unknown_policy" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    spec = { roles = { execution = merge(run.written.spec.roles.execution, { policies = ["image", "log"] }) } }
  }
  assert {
    condition     = output.said == "yard.json: /roles/execution/policies names log, which /policies lacks"
    error_message = output.said
  }
}

run "role_of_an_unknown_function" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    spec = { roles = { ingest = merge(run.written.spec.roles.ingest, { function = "intake" }) } }
  }
  assert {
    condition     = output.said == "yard.json: /roles/ingest/function names intake, which /functions lacks"
    error_message = output.said
  }
}

run "yard_name" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    parameters = { yard = "Prod_1" }
  }
  assert {
    condition     = output.said == "parameters: /yard is \"Prod_1\"; it must match ^[a-z0-9]+(-[a-z0-9]+)*$"
    error_message = output.said
  }
}

run "yard_name_too_long" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    parameters = { yard = "a-name-of-more-than-32-characters" }
  }
  assert {
    condition     = output.said == "parameters: /yard has 33 characters; it must have at most 32"
    error_message = output.said
  }
}

run "another_account" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    parameters = { account = "210987654321" }
  }
  assert {
    condition     = output.said == "parameters: /account is 210987654321; var.account is 123456789012"
    error_message = output.said
  }
}

run "unknown_pool" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    parameters = { judge = false, pools = { tpu = {} } }
  }
  assert {
    condition     = output.said == "parameters: /pools/tpu is no pool of yard.json; it has cpu, gpu, gpu8, judge"
    error_message = output.said
  }
}

run "no_pool" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    parameters = { judge = false, pools = {} }
  }
  assert {
    condition     = output.said == "parameters: /pools has 0; it must have at least 1"
    error_message = output.said
  }
}

run "more_warm_workers_than_workers" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    parameters = { judge = false, pools = { cpu = { warm_workers = 3 } } }
  }
  assert {
    condition     = output.said == "parameters: /pools/cpu/warm_workers is 3, more than max_workers, 2"
    error_message = output.said
  }
}

run "judge_without_a_pool" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    parameters = { pools = { cpu = {} } }
  }
  assert {
    condition     = output.said == "parameters: /judge is true, and /pools has no judge; add it there"
    error_message = output.said
  }
}

run "threshold_of_no_alarm" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    parameters = { alarm_thresholds = { lag = 60 } }
  }
  assert {
    condition     = output.said == "parameters: /alarm_thresholds/lag is no alarm of yard.json; it has ${join(", ", keys(run.written.spec.alarms))}"
    error_message = output.said
  }
}

run "pollers" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    parameters = { pollers = { min = 3, max = 2 } }
  }
  assert {
    condition     = output.said == "parameters: /pollers/min is 3, more than max, 2"
    error_message = output.said
  }
}

run "log_retention" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    parameters = { log_retention_days = 10 }
  }
  assert {
    condition     = startswith(output.said, "parameters: /log_retention_days is 10; it must be one of [1,3,5,7,14,")
    error_message = output.said
  }
}

run "production_that_pages_nobody" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    parameters = { production = true, page_emails = [] }
  }
  assert {
    condition     = output.said == "parameters: /page_emails is empty, and this is production; name whom its alarms page"
    error_message = output.said
  }
}

run "more_zones_than_have_addresses" {
  command = plan
  module {
    source = "./tests/broken"
  }
  variables {
    parameters = { zones = ["us-east-1a", "us-east-1b", "us-east-1c", "us-east-1d"] }
  }
  assert {
    condition     = output.said == "parameters: /zones names 4; /network/zones of yard.json has addresses for 3"
    error_message = output.said
  }
}

run "nothing_is_made_of_what_is_refused" {
  command = plan
  module {
    source = "./checked"
  }
  variables {
    value    = run.written.spec
    problems = ["yard.json: /queue_defaults/visibility_s is 29"]
  }
  expect_failures = [output.value]
}
