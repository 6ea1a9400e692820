"""Small simulations of vendors' APIs, each as its documentation describes it; they know nothing of ours."""
