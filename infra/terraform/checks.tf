# The spec as it is written, and what refuses it.

locals {
  spec_folder = coalesce(var.spec_folder, "${path.module}/../spec")
}

module "checked" {
  source            = "./checks"
  written           = jsondecode(file("${local.spec_folder}/yard.json"))
  schema            = jsondecode(file("${local.spec_folder}/yard.schema.json"))
  parameters        = var.parameters
  parameters_schema = jsondecode(file("${local.spec_folder}/environments.schema.json")).additionalProperties
  account           = var.account
}
