"""Networks: policies, reward models and discriminators, each able to score encoded pairs."""
