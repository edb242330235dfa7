# The spec as it is written, once nothing is wrong with it or with the parameters. AWS would find some of it only while it
# deploys, and some never.

locals {
  spec_folder = coalesce(var.spec_folder, "${path.module}/../spec")
  as_written  = jsondecode(file("${local.spec_folder}/yard.json"))
}

module "checks" {
  source            = "./checks"
  written           = local.as_written
  schema            = jsondecode(file("${local.spec_folder}/yard.schema.json"))
  parameters        = var.parameters
  parameters_schema = jsondecode(file("${local.spec_folder}/environments.schema.json")).additionalProperties
  account           = var.account
}

module "checked" {
  source   = "./checked"
  value    = local.as_written
  problems = module.checks.problems
}
