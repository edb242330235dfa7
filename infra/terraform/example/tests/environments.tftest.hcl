# What the root refuses of environments.json.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "offline"
  secret_key                  = "offline"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  environment = "dev"
  account     = "123456789012"
  functions   = "../tests/functions"
  offline     = true
}

run "as_written" {
  command = plan
}

run "no_such_environment" {
  command = plan
  variables {
    environment = "production"
  }
  expect_failures = [var.environment]
}

run "two_environments_with_one_yard" {
  command = plan
  variables {
    environments = "tests/one-yard-twice.json"
  }
  expect_failures = [terraform_data.environments]
}

run "one_yard_twice_and_one_says_where" {
  command = plan
  variables {
    environments = "tests/one-yard-twice-one-named.json"
  }
  expect_failures = [terraform_data.environments]
}

run "one_yard_twice_in_one_account" {
  command = plan
  variables {
    environments = "tests/one-yard-twice-one-account.json"
  }
  expect_failures = [terraform_data.environments]
}

run "one_name_in_two_accounts_is_two_yards" {
  command = plan
  variables {
    environments = "tests/one-yard-twice-two-accounts.json"
  }
}

run "unknown_field" {
  command = plan
  variables {
    environments = "tests/unknown-field.json"
  }
  expect_failures = [terraform_data.environments]
}
