# One environment of infra/spec/environments.json:
#
#   infra/terraform/zip.sh
#   terraform -chdir=infra/terraform/example apply -var environment=dev -var account=123456789012

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

variable "environment" {
  description = "Which one."
  type        = string

  validation {
    condition     = contains(keys(local.environments), var.environment)
    error_message = "environment is ${var.environment}; environments.json has ${join(", ", keys(local.environments))}."
  }
}

variable "account" {
  description = "The AWS account; by default that of the environment."
  type        = string
  default     = null
}

variable "functions" {
  description = "The folder of the functions' programs; by default target/lambda."
  type        = string
  default     = null
}

variable "environments" {
  description = "The file of the environments; by default infra/spec/environments.json."
  type        = string
  default     = null
}

variable "offline" {
  description = "Plan without credentials and without a network, to look at what would be made."
  type        = bool
  default     = false
}

locals {
  spec_folder  = "${path.module}/../../spec"
  environments = jsondecode(file(coalesce(var.environments, "${local.spec_folder}/environments.json")))
  parameters   = local.environments[var.environment]

  # Roles have no region, so that one account has a yard's name once. One that is not named may be any.
  yards    = { for name, held in local.environments : name => try(held.yard, name) }
  accounts = { for name, held in local.environments : name => try(held.account, "") }
  shared = flatten([for place, name in keys(local.environments) : [
    for other in slice(keys(local.environments), 0, place) :
    "/${name}/yard is that of /${other}; give it a name of its own, or give both an account, which must differ"
    if local.yards[name] == local.yards[other]
    && length(distinct(compact([local.accounts[name], local.accounts[other]]))) < 2
  ]])
  problems = [for problem in concat(module.schema.problems, local.shared) : "environments.json: ${problem}"]
}

# The module's typed variable would drop an unknown field without a word.
module "schema" {
  source = "../schema"
  value  = local.environments
  schema = jsondecode(file("${local.spec_folder}/environments.schema.json"))
}

# A plan fails as a whole, so that nothing is made where something is wrong.
resource "terraform_data" "environments" {
  lifecycle {
    precondition {
      condition     = length(local.problems) == 0
      error_message = join("\n", local.problems)
    }
  }
}

provider "aws" {
  region                      = local.parameters.region
  access_key                  = var.offline ? "offline" : null
  secret_key                  = var.offline ? "offline" : null
  skip_credentials_validation = var.offline
  skip_metadata_api_check     = var.offline ? "true" : null
  skip_requesting_account_id  = var.offline
}

# Not every region has three zones for every account.
data "aws_availability_zones" "here" {
  count = var.offline ? 0 : 1

  state = "available"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

module "yard" {
  source     = "../"
  zones      = one(data.aws_availability_zones.here[*].names)
  parameters = local.parameters
  account    = var.account != null ? var.account : try(local.parameters.account, "")
  functions  = var.functions
  # The local AWS has functions that somebody else puts there.
  functions_bucket = var.environment == "local" ? "proofyard-functions" : null
}

output "webhook_address" {
  description = "Where senders of block events post them."
  value       = module.yard.webhook_address
}
