# 1.11 is the first Terraform with write-only arguments: the webhook's secret never comes into the state.
terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}
