import time
def test_smoke(market):
    t=time.time(); print(market.transformed["train"][0]); print(time.time()-t)
def test_smoke2(trained, towers):
    print(trained.loss_before, trained.loss_after); print({k:v.structured_input_signature for k,v in towers.signatures.items()})
