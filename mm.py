import torch,time
print(torch.__config__.show()[:600]); print(torch.backends.mkldnn.is_available(), torch.get_num_threads(), torch.backends.cpu.get_cpu_capability())
for dt in (torch.float32,torch.bfloat16,torch.float16):
    for n in (1024,4096):
        a=torch.randn(n,n).to(dt);b=torch.randn(n,n).to(dt);a@b
        t=time.time();k=3;[a@b for _ in range(k)];print(dt,n,k*2*n**3/(time.time()-t)/1e9)
